/* What clients send as a song, beyond the plain case, and what they are told where it is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "song_request.h"

#define FORM "multipart/form-data; boundary=x"
#define PART "--x\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n%s\r\n--x--\r\n"

/* The body is changed in place, so it is the caller's. */
static bool read_v1(char body[300], const char *json, struct ms_song_request *request,
                    struct ms_problem *problem) {
    const int size = snprintf(body, 300, "%s", json);
    assert_in_range(size, 1, 299);
    return ms_song_request_v1(body, (size_t)size, 1000, request, problem);
}

/* "mp3" as the course's clients write it, as a browser's FileReader does, and with escapes */
static void a_song_in_base64(void **state) {
    static const char *const songs[] = {
        "SUQzAwA=",
        "SUQz\\r\\nAwA=",
        "data:audio/mpeg;base64,SUQzAwA=",
        "data:;base64,SUQzAwA=",
        "data:audio\\/mpeg;codecs=mp3;BASE64,SUQzAwA=",
    };
    (void)state;
    for (size_t i = 0; i < sizeof songs / sizeof *songs; i++) {
        char json[200], body[300];
        (void)snprintf(json, sizeof json, "{\"mp3\": \"%s\"}", songs[i]);
        struct ms_song_request request;
        struct ms_problem problem = {0};
        if (!read_v1(body, json, &request, &problem))
            fail_msg("%s: %s", json, problem.text);
        assert_int_equal(request.song_bytes, 5);
        assert_memory_equal(request.song, "ID3\3\0", 5);
        ms_song_request_fini(&request);
    }
    static const char *const bad[] = {"data:audio/mpeg,SUQzAwA=", "data:audio/mpeg;base64",
                                      "data:", "base64,SUQzAwA=", "data:;base64,data:;base64,SUQz"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[200], body[300];
        (void)snprintf(json, sizeof json, "{\"mp3\": \"%s\"}", bad[i]);
        struct ms_song_request request;
        struct ms_problem problem = {0};
        assert_false(read_v1(body, json, &request, &problem));
        assert_int_equal(problem.status, 400);
        assert_string_equal(problem.code, "invalid_base64");
        ms_song_request_fini(&request);
    }
}

static void a_callback_of_v1(void **state) {
    static const struct {
        const char *json, *url, *data;
    } cases[] = {
        {"{\"url\": \"http://h/x\", \"data\": [1]}", "http://h/x", "[1]"},
        {"{\"url\": \"http://h/x\"}", "http://h/x", NULL},
        {"\"http://h/x\"", "http://h/x", NULL},
        {"\"http:\\/\\/h\\/x\"", "http://h/x", NULL},
        {"\"\"", NULL, NULL}, /* a field that was left empty */
        {"null", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[200], body[300];
        (void)snprintf(json, sizeof json, "{\"callback\": %s, \"mp3\": \"SUQzAwA=\"}",
                       cases[i].json);
        struct ms_song_request request;
        struct ms_problem problem = {0};
        if (!read_v1(body, json, &request, &problem))
            fail_msg("%s: %s", json, problem.text);
        if (cases[i].url == NULL) {
            assert_null(request.callback.url);
        } else {
            assert_int_equal(request.callback.version, 1);
            assert_string_equal(request.callback.url, cases[i].url);
        }
        if (cases[i].data == NULL)
            assert_null(request.callback.data);
        else
            assert_string_equal(request.callback.data, cases[i].data);
        ms_song_request_fini(&request);
    }
    static const char *const bad[] = {"5", "[\"http://h/x\"]", "\"h\"", "{\"data\": 1}", "true"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char json[200], body[300];
        (void)snprintf(json, sizeof json, "{\"callback\": %s, \"mp3\": \"SUQzAwA=\"}", bad[i]);
        struct ms_song_request request;
        struct ms_problem problem = {0};
        assert_false(read_v1(body, json, &request, &problem));
        assert_int_equal(problem.status, 400);
        assert_string_equal(problem.code, "invalid_callback");
        ms_song_request_fini(&request);
    }
}

/* Whatever lies in a field of a wrong name, the name is what is wrong, and the right ones are
 * told. */
static void a_field_of_another_name(void **state) {
    static char large[9000];
    (void)state;
    memset(large, 'A', sizeof large - 1);
    const struct {
        const char *more, *value;
    } cases[] = {
        {"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", "ID3"},
        {"", large},
        {"", "\xff"},
        {"", "blue"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[sizeof large + 300];
        const int size = snprintf(body, sizeof body, PART, "song", cases[i].more, cases[i].value);
        struct ms_song_request request;
        struct ms_problem problem = {0};
        assert_false(ms_song_request_v2(FORM, "", body, (size_t)size, 100000, &request, &problem));
        assert_int_equal(problem.status, 422);
        assert_string_equal(problem.code, "unknown_option");
        static const char *const parts[] = {"\"song\"", "song is the field \"file\"", "two_stems",
                                            "callback_url", "name"};
        for (size_t j = 0; j < sizeof parts / sizeof *parts; j++)
            if (strstr(problem.text, parts[j]) == NULL)
                fail_msg("%s", problem.text);
        ms_song_request_fini(&request);
    }
    char body[300];
    const int size = snprintf(body, sizeof body, PART, "format", "", "mp3");
    struct ms_song_request request;
    struct ms_problem problem = {0};
    assert_false(ms_song_request_v2(FORM, "", body, (size_t)size, 1000, &request, &problem));
    assert_string_equal(problem.code, "missing_file");
    assert_non_null(strstr(problem.text, "field \"file\""));
    ms_song_request_fini(&request);
    assert_false(
        ms_song_request_v2("audio/wav", "colour=blue", "RIFF", 4, 1000, &request, &problem));
    assert_string_equal(problem.code, "unknown_option");
    assert_non_null(strstr(problem.text, "two_stems"));
    ms_song_request_fini(&request);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_song_in_base64),
        cmocka_unit_test(a_callback_of_v1),
        cmocka_unit_test(a_field_of_another_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
