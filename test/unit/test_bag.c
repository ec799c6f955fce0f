/* NAME.yaml of a bag: both styles of lists, and what is refused, with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bag.h"

static int parse(const char *text, struct ms_manifest *bag, struct ms_error *err) {
    /* a copy of exactly that size, so that a sanitizer sees who reads on */
    const size_t size = strlen(text);
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    char *exact = realloc(copy, size > 0 ? size : 1);
    const int rc = ms_bag_parse(exact, size, bag, err);
    free(exact);
    return rc;
}

static void both_styles(void **state) {
    static const char *const texts[] = {
        "models: ['a1', \"b2\"]\nweights: [[1., 0], [.5, 1e0],]\nsegment: 44",
        "---\n# bag\n\nmodels: # two\n  - a1\n  - 'b2' # second\nweights:\n- - 1\n  - 0.0\n- - "
        "0.5\n"
        "  - 1\nsegment:   44   \n",
        "segment: 44\r\nmodels:\r\n- a1\r\n- b2\r\nweights:\r\n- [1, 0]\r\n- [0.5,\r\n   1]\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ms_manifest bag;
        struct ms_error err = {0};
        if (parse(texts[i], &bag, &err) != 0)
            fail_msg("%s", err.text);
        assert_true(bag.is_bag);
        assert_int_equal(bag.info.member_count, 2);
        assert_string_equal(bag.networks[0].sources[0].file, "a1.safetensors");
        assert_string_equal(bag.networks[1].sources[1].file, "b2.th");
        assert_int_equal(bag.info.stem_count, 2);
        assert_true(bag.info.weights[0][0] == 1 && bag.info.weights[0][1] == 0);
        assert_true(bag.info.weights[1][0] == 0.5 && bag.info.weights[1][1] == 1);
        assert_true(bag.segment_s == 44);
    }
    struct ms_manifest bag;
    assert_int_equal(parse("models: [a]", &bag, NULL), 0);
    assert_int_equal(bag.info.stem_count, 0);
    assert_true(bag.segment_s == 0);
}

static void what_is_refused(void **state) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "keys with their values"},
        {"models: []", "names no models"},
        {"models: a", "line 1: a list was expected"},
        {"models: {a: b}", "a list was expected"},
        {"models: [a\n", "line 2: this is not YAML"},
        {"models: [a b]", "a name or number"},
        {"models: [a] b", "line 1: this is not YAML"},
        {"models: ['a]", "this is not YAML"},
        {"models: [a/b]", "characters other than"},
        {"models: [../b]", "characters other than"},
        {"models: [[a]]", "a name or number"},
        {"models: [0123456789012345678901234567890123456789012345678901234567890123]",
         "at most 63"},
        {"models: [a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a]", "more than 16"},
        {"models: [a]\nmodels: [b]", "line 2: the key models"},
        {"models: [a]\nshifts: 1", "line 2: the key shifts"},
        {"models:\n- a\n  b", "line 2: a name or number"},
        {"models:\n- a b", "a name or number"},
        {"models:\n  - a\n - b", "line 3: this is not YAML"},
        {"models: [\"a\\e[2J\"]", "a name or number"},
        {"models: [\"a\\0\"]", "a name or number"},
        {"models: [\xff]", "line 1: this is not YAML"},
        {"models: &a [*a]", "a name or number"},
        {"models: &a [a]\nweights: *a", "line 2: a list was expected"},
        {"? [models]\n: [a]", "a name or number"},
        {"- models", "keys with their values"},
        {"models: [a]\n---\nmodels: [b]", "line 2: keys with their values"},
        {"models: [a]\nweights: [1]", "a list was expected"},
        {"models: [a]\nweights: [[]]", "each stem"},
        {"models: [a, b]\nweights: [[1, 1], [1]]", "each stem"},
        {"models: [a, b]\nweights: [[1]]", "weights for 1 networks, but 2"},
        {"models: [a]\nweights: [[1], [1]]", "weights for 2 networks, but 1"},
        {"models: [a]\nweights: [[-1]]", "-1 is not a number"},
        {"models: [a]\nweights: [[nan]]", "nan is not a number"},
        {"models: [a]\nweights: [[1]]\nweights: [[2]]", "line 3: the key weights"},
        {"models: [a]\nsegment: long", "long is not a number"},
        {"models", "keys with their values"},
        {"\tmodels: [a]", "this is not YAML"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_manifest bag;
        struct ms_error err = {0};
        assert_int_equal(parse(cases[i].text, &bag, &err), MS_EMODEL);
        if (strstr(err.text, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

static void a_text_is_not_larger_than_any_bag(void **state) {
    static char text[(64 << 10) + 2];
    struct ms_manifest bag;
    struct ms_error err = {0};
    (void)state;
    memset(text, '[', sizeof text - 1);
    assert_int_equal(parse(text, &bag, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "at most 64 KiB"));
    text[sizeof text - 2] = '\0'; /* as deep as it can be */
    assert_int_equal(parse(text, &bag, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "keys with their values"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_styles),
        cmocka_unit_test(a_text_is_not_larger_than_any_bag),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
