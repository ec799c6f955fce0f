/* JSON: what is read, what is refused, and that writing escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/json.h"

static struct ms_json *parse(const char *text) {
    struct ms_json *document = NULL;
    struct ms_error err = {0};
    if (ms_json_parse(text, strlen(text), &document, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return document;
}

static void walks_a_document(void **state) {
    (void)state;
    struct ms_json *document =
        parse(" {\"a\":[1,-2.5e1,true,null,\"x\\u00e9\\n\"],\"b\":{\"c\":\"\"},\"A\":7,\"a\":0} ");
    const struct ms_json *array = ms_json_get(document, "a");
    int64_t number = 0;
    double real = 0;
    bool truth = false;
    assert_true(ms_json_is_object(document));
    assert_int_equal(ms_json_count(document), 4);
    assert_true(ms_json_is_array(array)); /* the first of two */
    assert_int_equal(ms_json_count(array), 5);
    const struct ms_json *at = ms_json_first(array);
    assert_true(ms_json_int(at, &number) && number == 1);
    assert_false(ms_json_bool(at, &truth));
    assert_null(ms_json_name(at));
    at = ms_json_next(at);
    assert_true(ms_json_double(at, &real) && real == -25.0);
    at = ms_json_next(at);
    assert_true(ms_json_bool(at, &truth) && truth);
    at = ms_json_next(at);
    assert_true(ms_json_is_null(at));
    at = ms_json_next(at);
    assert_string_equal(ms_json_string(at), "x\xC3\xA9\n");
    assert_null(ms_json_next(at));
    assert_string_equal(ms_json_string(ms_json_get(ms_json_get(document, "b"), "c")), "");
    assert_true(ms_json_int(ms_json_get(document, "A"), &number) && number == 7);
    assert_string_equal(ms_json_name(ms_json_first(document)), "a");
    char *printed = ms_json_print(array);
    assert_string_equal(printed, "[1,-25,true,null,\"x\xC3\xA9\\n\"]");
    free(printed);
    ms_json_free(document);
}

static void a_missing_node_is_harmless(void **state) {
    (void)state;
    int64_t number = 0;
    struct ms_json *document = parse("[1]");
    assert_null(ms_json_get(document, "a")); /* no object */
    assert_null(ms_json_get(NULL, "a"));
    assert_null(ms_json_first(NULL));
    assert_null(ms_json_next(NULL));
    assert_null(ms_json_string(NULL));
    assert_null(ms_json_name(NULL));
    assert_null(ms_json_print(NULL));
    assert_false(ms_json_is_object(NULL));
    assert_false(ms_json_is_null(NULL));
    assert_false(ms_json_int(NULL, &number));
    assert_int_equal(ms_json_count(NULL), 0);
    ms_json_free(document);
    ms_json_free(NULL);
}

static void integers_come_without_loss_or_not_at_all(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_int;
        int64_t value;
    } cases[] = {
        {"9007199254740992", true, INT64_C(9007199254740992)},
        {"-9007199254740992", true, INT64_C(-9007199254740992)},
        {"1e3", true, 1000},
        {"9007199254740994", false, 0},
        {"1.5", false, 0},
        {"1e999", false, 0},
        {"\"1\"", false, 0},
        {"true", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        struct ms_json *document = parse(cases[i].text);
        assert_int_equal(ms_json_int(document, &value), cases[i].is_int);
        assert_true(value == cases[i].value);
        ms_json_free(document);
    }
    double real = 0;
    struct ms_json *document = parse("1e999");
    assert_false(ms_json_double(document, &real));
    ms_json_free(document);
}

static void refuse(const char *text, size_t size, const char *reason) {
    struct ms_json *document = NULL;
    struct ms_error err = {0};
    if (ms_json_parse(text, size, &document, &err) != MS_EINPUT)
        fail_msg("accepted: %s", text);
    if (strstr(err.text, reason) == NULL)
        fail_msg("%s: \"%s\" says nothing of \"%s\"", text, err.text, reason);
}

static void refuses_what_is_not_json(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "syntax"},
        {"   ", "syntax"},
        {"{", "syntax"},
        {"[1,]", "syntax"},
        {"{\"a\" 1}", "syntax"},
        {"{a:1}", "syntax"},
        {"nul", "syntax"},
        {"nullx", "after the end"},
        {"1 2", "after the end"},
        {"{}]", "after the end"},
        {"01", "number"},
        {"-", "number"},
        {"1.", "number"},
        {"[1.e5]", "number"},
        {"1e", "number"},
        {".5", "unexpected"},
        {"+1", "unexpected"},
        {"'a'", "unexpected"},
        {"[1,/**/2]", "unexpected"},
        {"\xEF\xBB\xBF{}", "unexpected"},
        {"\"abc", "without an end"},
        {"\"abc\\", "without an end"},
        {"\"a\\u0000b\"", "NUL"},
        {"{\"a\\u0000b\":1}", "NUL"},
        {"\"a\tb\"", "control"},
        {"\"\\x\"", "syntax"},
        {"\"\\ud800\"", "syntax"},
        {"\"\xFF\"", "UTF-8"},
        {"\"\xC0\x80\"", "UTF-8"},
        {"\"\xED\xA0\x80\"", "UTF-8"},
        {"\"\xF4\x90\x80\x80\"", "UTF-8"},
        {"\"\xE2\x82\"", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i][0], strlen(cases[i][0]), cases[i][1]);
    refuse("{}\0", 3, "unexpected");
    refuse("\"a\0b\"", 5, "control");
    struct ms_json *document = parse("\"\\\\u0000\""); /* a backslash, then plain letters */
    assert_string_equal(ms_json_string(document), "\\u0000");
    ms_json_free(document);
}

static void bounds_depth_and_number(void **state) {
    (void)state;
    char nested[201];
    for (size_t depth = 64; depth <= 65; depth++) {
        memset(nested, '[', depth);
        memset(nested + depth, ']', depth);
        nested[2 * depth] = '\0';
        if (depth == 64)
            ms_json_free(parse(nested));
        else
            refuse(nested, 2 * depth, "deep");
    }
    enum { SIZE = 2100000 };
    char *many = malloc(SIZE);
    assert_non_null(many);
    for (size_t i = 0; i < SIZE; i++)
        many[i] = "0,"[i % 2];
    many[0] = '[';
    many[1] = ' ';
    many[SIZE - 1] = ']';
    refuse(many, SIZE, "too many");
    free(many);
}

static void writes_and_escapes(void **state) {
    (void)state;
    struct ms_json_writer *writer = ms_json_writer_new();
    assert_non_null(writer);
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "s", "q\"b\\n\n\t\x01 \xC3\xA9 \xFF \xC2\x9B\xE2\x80\xAE\xE2\x82");
    ms_json_put_string(writer, "none", NULL);
    ms_json_begin_array(writer, "list");
    ms_json_put_int(writer, NULL, INT64_MIN);
    ms_json_put_double(writer, NULL, 0.1);
    ms_json_put_double(writer, NULL, NAN);
    ms_json_put_bool(writer, NULL, true);
    ms_json_begin_object(writer, NULL);
    ms_json_end_object(writer);
    ms_json_end_array(writer);
    ms_json_put_null(writer, "z");
    ms_json_end_object(writer);
    size_t size = 0;
    const char *text = ms_json_writer_text(writer, &size);
    assert_string_equal(text, "{\"s\":\"q\\\"b\\\\n\\n\\t\\u0001 \xC3\xA9 \xEF\xBF\xBD "
                              "\\u009b\\u202e\xEF\xBF\xBD\xEF\xBF\xBD\",\"none\":null,"
                              "\"list\":[-9223372036854775808,0.1,null,true,{}],\"z\":null}");
    assert_int_equal(size, strlen(text));
    ms_json_free(parse(text));
    ms_json_writer_free(writer);
    ms_json_writer_free(NULL);

    struct ms_json *node = parse("[\"\xC2\x9B\\u202e\xC3\xA9\x7F\"]");
    char *printed = ms_json_print(node);
    assert_string_equal(printed, "[\"\\u009b\\u202e\xC3\xA9\\u007f\"]");
    free(printed);
    ms_json_free(node);
}

static void members_are_found_without_parsing(void **state) {
    (void)state;
    static const struct {
        const char *text, *name, *value; /* NULL: none */
    } cases[] = {
        {"{\"a\":\"x\"}", "a", "\"x\""},
        {" { \"b\" : [1, {\"a\": \"]}\"}] , \"a\" :12345678901234567890 } ", "a",
         "12345678901234567890"},
        {"{\"b\":{\"a\":1},\"a\":{\"c\":[\"}\"]}}", "a", "{\"c\":[\"}\"]}"},
        {"{\"a\":1,\"a\":2}", "a", "1"},
        {"{\"\\\"a\":1,\"a\":\"q\\\"\\\\\"}", "a", "\"q\\\"\\\\\""},
        {"{\"ab\":1}", "a", NULL},
        {"{\"a\":}", "a", NULL},
        {"{\"a\"", "a", NULL},
        {"{\"a\":", "a", NULL},
        {"{\"a\":\"x", "a", NULL},
        {"{\"b\":\"x\\", "a", NULL},
        {"[\"a\",1]", "a", NULL},
        {"", "a", NULL},
        {"{", "a", NULL},
        {"{}", "a", NULL},
        {"{\"b\":1;\"a\":2}", "a", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length = strlen(cases[i].text);
        char *text = malloc(length > 0 ? length : 1); /* and not a byte more: ASan looks */
        assert_non_null(text);
        memcpy(text, cases[i].text, length);
        const char *value = NULL;
        size_t size = 0;
        const bool found = ms_json_member_text(text, length, cases[i].name, &value, &size);
        if (found != (cases[i].value != NULL))
            fail_msg("%s: %s", cases[i].text, found ? "found" : "not found");
        if (found) {
            assert_int_equal(size, strlen(cases[i].value));
            assert_memory_equal(value, cases[i].value, size);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_a_document),
        cmocka_unit_test(a_missing_node_is_harmless),
        cmocka_unit_test(integers_come_without_loss_or_not_at_all),
        cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(bounds_depth_and_number),
        cmocka_unit_test(writes_and_escapes),
        cmocka_unit_test(members_are_found_without_parsing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
