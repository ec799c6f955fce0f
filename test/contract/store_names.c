/* Which names buckets and objects may have, on every backend. */
#include "contract.h"

static void takes_unusual_names(void **state) {
    static const char *const keys[] = {"a b",
                                       "a+b",
                                       "a%20b",
                                       "a&b=c?d#e",
                                       "\xc3\xa4\xc3\x9f/\xe4\xb8\xad\xf0\x9f\x98\x80",
                                       "x/y/z",
                                       "x/y/.hide",
                                       "x/...y",
                                       "~'()*!@:,;$",
                                       "\"<>|{}^`[]",
                                       "-",
                                       ".tmp/a",
                                       "%2e%2e",
                                       "a=b"};
    const size_t count = sizeof keys / sizeof *keys;
    char longest[513];
    (void)state;
    for (size_t i = 0; i < count; i++)
        expect(0, put_text(world.store, keys[i], keys[i]));
    for (size_t i = 0; i < count; i++)
        check_text(keys[i], keys[i]);
    for (size_t i = 0; i < count; i++)
        expect(0, ms_store_remove(world.store, BUCKET, keys[i], &err));
    memset(longest, 'k', sizeof longest);
    longest[255] = longest[511] = '/';
    longest[511] = '\0';
    expect(0, put_text(world.store, longest, "long"));
    check_text(longest, "long");
}

static void refuses_bad_names(void **state) {
    static const char *const keys[] = {"",
                                       "/",
                                       "/a",
                                       "a/",
                                       "a//b",
                                       ".",
                                       "..",
                                       "../a",
                                       "a/../b",
                                       "a/..",
                                       "./a",
                                       "a/./b",
                                       "a\nb",
                                       "a\x7f",
                                       "a\\b",
                                       "\x01",
                                       "\xc3",
                                       "\xff",
                                       "\xc0\xaf",
                                       "\xed\xa0\x80",
                                       "\xf4\x90\x80\x80",
                                       "a\xe2\x82",
                                       "\xc2\x85"};
    static const char *const buckets[] = {"",     "..",  ".tmp", "a/b", "../x", "UPPER",
                                          "a..b", "a_b", "-",    "a b", "x\n",  "ends-"};
    char longest[514];
    struct ms_object_info info;
    struct heap heap = {0};
    const struct ms_object_source source = {.bytes = "a", .size = 1};
    (void)state;
    memset(longest, 'k', sizeof longest);
    longest[513] = '\0';
    for (size_t i = 0; i <= sizeof keys / sizeof *keys + 1; i++) {
        const char *key = i < sizeof keys / sizeof *keys ? keys[i] : longest;
        if (i == sizeof keys / sizeof *keys + 1)
            longest[256] = '\0'; /* too long for one part */
        expect(MS_EUSAGE, ms_store_put(world.store, BUCKET, key, &source, NULL, &err));
        expect(MS_EUSAGE, ms_store_head(world.store, BUCKET, key, &info, &err));
        expect(MS_EUSAGE,
               ms_store_get(world.store, BUCKET, key, 0, -1, write_heap, &heap, &info, &err));
        expect(MS_EUSAGE, ms_store_remove(world.store, BUCKET, key, &err));
        char *url = NULL;
        expect(MS_EUSAGE, ms_store_presign(world.store, BUCKET, key, NULL, 60, &url, &err));
    }
    for (size_t i = 0; i < sizeof buckets / sizeof *buckets; i++) {
        /* A prefix makes some of them good ones, on S3. */
        if (world.s3 && strspn(buckets[i], "-.") == strlen(buckets[i]))
            continue;
        if (world.s3 && strcmp(buckets[i], ".tmp") == 0)
            continue;
        expect(MS_EUSAGE, ms_store_put(world.store, buckets[i], "a", &source, NULL, &err));
        expect(MS_EUSAGE, ms_store_head(world.store, buckets[i], "a", &info, &err));
    }
}

const struct CMUnitTest name_tests[] = {
    cmocka_unit_test(takes_unusual_names),
    cmocka_unit_test(refuses_bad_names),
};
const size_t name_tests_count = sizeof name_tests / sizeof *name_tests;
