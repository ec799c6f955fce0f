#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msaas/multipart.h"

#define FORM "multipart/form-data; boundary=XyZ"
#define NAMED(name) "Content-Disposition: form-data; name=\"" name "\"\r\n"

static int parse(const char *type, const char *body, size_t size, struct ms_multipart *form) {
    char *copy = malloc(size > 0 ? size : 1); /* exactly: a sanitizer sees what reads beyond */
    assert_non_null(copy);
    memcpy(copy, body, size);
    struct ms_error err = {0};
    int rc = ms_multipart_parse(type, copy, size, form, &err);
    if (rc != 0)
        assert_true(err.code == rc && err.text[0] != '\0');
    for (int i = 0; i < form->count; i++) /* back into what stays, for the test to look at */
        form->parts[i].data = body + (form->parts[i].data - copy);
    free(copy);
    return rc;
}

static void assert_data(const struct ms_multipart_part *part, const char *data) {
    assert_non_null(part);
    assert_int_equal(part->size, strlen(data));
    assert_memory_equal(part->data, data, part->size);
}

static void reads_what_browsers_and_curl_send(void **state) {
    static const char body[] = "--XyZ\r\n" NAMED(
        "model") "\r\nhtdemucs\r\n"
                 "--XyZ\r\n"
                 "content-disposition: form-data; name=file; filename=\"a \\\"b\\\".mp3\"\r\n"
                 "Content-Type: audio/mpeg; x=y\r\n\r\n"
                 "\r\n--XyZa\r\n--Xy\r\n\0\r\r\n"
                 "--XyZ  \r\n" NAMED("empty") "\r\n\r\n"
                                              "--XyZ--\r\nepilogue";
    struct ms_multipart form;
    const struct ms_multipart_part *file;
    (void)state;
    assert_int_equal(parse(FORM, body, sizeof body - 1, &form), 0);
    assert_int_equal(form.count, 3);
    assert_string_equal(form.parts[0].name, "model");
    assert_data(&form.parts[0], "htdemucs");
    assert_null(form.parts[0].filename);
    assert_string_equal(form.parts[0].content_type, "");
    file = &form.parts[1];
    assert_string_equal(file->name, "file");
    assert_string_equal(file->filename, "a \"b\".mp3");
    assert_string_equal(file->content_type, "audio/mpeg; x=y");
    assert_int_equal(file->size, 18);
    assert_memory_equal(file->data, "\r\n--XyZa\r\n--Xy\r\n\0\r", 18);
    assert_string_equal(form.parts[2].name, "empty");
    assert_data(&form.parts[2], "");
    ms_multipart_free(&form);
    ms_multipart_free(&form);
}

static void reads_file_names(void **state) {
    static const struct {
        const char *given, *filename; /* NULL: none */
    } cases[] = {
        {"; filename=\"a.mp3\"", "a.mp3"},
        {"; filename=a.mp3", "a.mp3"},
        {"; filename=\"\"", ""},
        {"; filename=\"f\xc3\xbcr.mp3\"", "f\xc3\xbcr.mp3"},
        {"; filename=\"f\xfcr.mp3\"", "f_r.mp3"},
        {"; filename=\"a%22b%20.mp3\"", "a\"b%20.mp3"},
        {"; filename=\"C:\\music\\a.mp3\"", "a.mp3"},
        {"; filename=\"../../etc/passwd\"", "passwd"},
        {"; filename=\"..\\/x/..\"", ".."},
        {"; filename=\"a;b=c.mp3\"", "a;b=c.mp3"},
        {"; filename=\"a\x01\x1f\x7f.mp3\"", "a___.mp3"},
        {"; filename=\"old.mp3\"; filename*=UTF-8''f%C3%BCr%2Fa%22.mp3", "a\".mp3"},
        {"; filename*=utf-8'de'f%C3%BCr.mp3; filename=\"old.mp3\"", "f\xc3\xbcr.mp3"},
        {"; filename=\"old.mp3\"; filename*=ISO-8859-1''f%FCr.mp3", "old.mp3"},
        {"; filename=\"old.mp3\"; filename*=UTF-8''%FF", "old.mp3"},
        {"; filename=\"old.mp3\"; filename*=UTF-8''a%00b", "old.mp3"},
        {"; filename*=UTF-8", NULL},
        {";", NULL},
        {" ; other=\"x\"", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_multipart form;
        char body[512];
        const int size =
            snprintf(body, sizeof body,
                     "--XyZ\r\nContent-Disposition: form-data; name=\"f\"%s\r\n\r\nx\r\n"
                     "--XyZ--",
                     cases[i].given);
        assert_int_equal(parse(FORM, body, (size_t)size, &form), 0);
        assert_int_equal(form.count, 1);
        if (cases[i].filename == NULL)
            assert_null(form.parts[0].filename);
        else
            assert_string_equal(form.parts[0].filename, cases[i].filename);
        ms_multipart_free(&form);
    }
}

static void reads_boundaries(void **state) {
    static const struct {
        const char *type, *body;
        int count; /* -1: refused */
    } cases[] = {
        {"Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\"",
         "--a b\r\n" NAMED("n") "\r\nv\r\n--a b--", 1},
        {FORM, "preamble\r\n--XyZ\r\n" NAMED("n") "\r\nv\r\n--XyZ--", 1},
        {FORM, "--XyZx\r\n--XyZ\r\n" NAMED("n") "\r\nv\r\n--XyZ--", 1},
        {FORM, "--XyZ--\r\n", 0},
        {FORM, "\r\n--XyZ--", 0},
        {FORM, "--XyZ\r\n" NAMED("n") "\r\nv\r\n--XyZ--x\r\n--XyZ\r\n", 1},
        {NULL, "--XyZ--", -1},
        {"text/plain; boundary=XyZ", "--XyZ--", -1},
        {"multipart/form-data", "--XyZ--", -1},
        {"multipart/form-data; boundary=", "----", -1},
        {"multipart/form-data; boundary=\"XyZ", "--XyZ--", -1},
        {"multipart/form-data; boundary=\"a \"", "--a --", -1},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         "--01234567890123456789012345678901234567890123456789012345678901234567890--", -1},
        {FORM, "", -1},
        {FORM, "--XyZ", -1},
        {FORM, "--XyZ\r\n", -1},
        {FORM, "--XyZ\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "\r\nv", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "\r\nv\r\n--XyZ", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "\r\nv--XyZ--", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "v\r\n--XyZ--", -1},
        {FORM, "--XyZ\n" NAMED("n") "\r\nv\r\n--XyZ--", 0}, /* a preamble, then */
        {FORM, "--XyZ\r\n" NAMED("n") "no header\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n" NAMED("n") NAMED("m") "\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\nContent-Disposition: form-data\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\nContent-Disposition: attachment; name=n\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\nContent-Disposition: form-data; name=n; name=m\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\nContent-Disposition: form-data; name=\"n\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "Content-Transfer-Encoding: base64\r\n\r\nv\r\n--XyZ--", -1},
        {FORM, "--XyZ\r\n" NAMED("n") "Content-Transfer-Encoding: binary\r\n\r\nv\r\n--XyZ--", 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_multipart form;
        const int rc = parse(cases[i].type, cases[i].body, strlen(cases[i].body), &form);
        if (cases[i].count < 0 ? rc != MS_EINPUT : (rc != 0 || form.count != cases[i].count))
            fail_msg("%d, %d parts:\n%s", rc, form.count, cases[i].body);
        ms_multipart_free(&form);
    }
}

static void bounds_what_it_keeps(void **state) {
    static char body[64000];
    struct ms_multipart form;
    char *at = body;
    (void)state;
    for (int i = 0; i < MS_MULTIPART_MAX_PARTS + 1; i++) {
        at += sprintf(at, "--XyZ\r\n" NAMED("n%d") "\r\n%d\r\n", i, i);
        if (i + 1 < MS_MULTIPART_MAX_PARTS)
            continue;
        memcpy(at, "--XyZ--", 8);
        assert_int_equal(parse(FORM, body, strlen(body), &form),
                         i < MS_MULTIPART_MAX_PARTS ? 0 : MS_ETOOLARGE);
        ms_multipart_free(&form);
    }
    sprintf(body, "--XyZ\r\n" NAMED("%02000d") "\r\nv\r\n--XyZ--", 0);
    assert_int_equal(parse(FORM, body, strlen(body), &form), MS_ETOOLARGE);
    sprintf(body, "--XyZ\r\nA: %09000d\r\n" NAMED("n") "\r\nv\r\n--XyZ--", 0);
    assert_int_equal(parse(FORM, body, strlen(body), &form), MS_ETOOLARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_browsers_and_curl_send),
        cmocka_unit_test(reads_file_names),
        cmocka_unit_test(reads_boundaries),
        cmocka_unit_test(bounds_what_it_keeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
