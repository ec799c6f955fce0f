/* What the S3 store sends, and what it does with answers that a real server gives only on its bad
 * days. The rest is in test/contract, against a real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loopback.h"
#include "msaas/digest.h"
#include "msaas/store.h"
#include "s3.h"

struct scene {
    struct loopback server;
    struct ms_store *store;
    struct ms_store_options options;
    char endpoint[60];
    const char *answers[8]; /* in order; the last one again and again */
    atomic_int requests;
    char head[8192], body[8192]; /* of the last request */
};

static void answer(void *context, int fd, const struct loopback_request *request) {
    struct scene *scene = context;
    int number = atomic_fetch_add(&scene->requests, 1);
    memcpy(scene->head, request->head, sizeof scene->head);
    memcpy(scene->body, request->body, sizeof scene->body);
    while (scene->answers[number] == NULL)
        number--;
    loopback_send(fd, scene->answers[number], strlen(scene->answers[number]));
}

static int set_up(void **state) {
    struct scene *scene = calloc(1, sizeof *scene);
    assert_non_null(scene);
    scene->server.answer = answer;
    scene->server.context = scene;
    loopback_start(&scene->server);
    snprintf(scene->endpoint, sizeof scene->endpoint, "http://127.0.0.1:%d/base/",
             scene->server.port);
    scene->options = (struct ms_store_options){.url = "s3://pre-",
                                               .endpoint = scene->endpoint,
                                               .access_key = "AKTEST",
                                               .secret_key = "very secret",
                                               .attempts = 4,
                                               .backoff_ms = 1};
    assert_int_equal(ms_store_open(&scene->options, &scene->store, NULL), 0);
    *state = scene;
    return 0;
}

static int tear_down(void **state) {
    struct scene *scene = *state;
    ms_store_close(scene->store);
    loopback_stop(&scene->server);
    free(scene);
    return 0;
}

static void answers_are(struct scene *scene, const char *first, const char *second) {
    memset(scene->answers, 0, sizeof scene->answers);
    scene->answers[0] = first;
    scene->answers[1] = second;
    atomic_store(&scene->requests, 0);
}

#define END "Connection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"tag\"\r\n" END
#define STATUS(text) "HTTP/1.1 " text " Status\r\nContent-Length: 0\r\n" END
#define CODED(text, code) "HTTP/1.1 " text " S\r\n" END "<Error><Code>" code "</Code></Error>"

static int put(struct scene *scene, struct ms_error *err) {
    return ms_store_put(
        scene->store, "queue", "a \xc3\xa4",
        &(struct ms_object_source){.bytes = "hello", .size = 5, .content_type = "audio/mpeg"}, NULL,
        err);
}

static void signs_and_describes_what_it_sends(void **state) {
    struct scene *scene = *state;
    char sha256[MS_SHA256_HEX];
    assert_int_equal(ms_sha256_of("hello", 5, sha256, NULL), 0);
    scene->options.session_token = "token+/=";
    struct ms_store *store;
    assert_int_equal(ms_store_open(&scene->options, &store, NULL), 0);
    ms_store_close(scene->store);
    scene->store = store;
    answers_are(scene, OK, NULL);
    assert_int_equal(put(scene, NULL), 0);
    assert_memory_equal(scene->head, "PUT /base/pre-queue/a%20%C3%A4 HTTP/1.1", 39);
    assert_string_equal(scene->body, "hello");
    char line[200];
    snprintf(line, sizeof line, "x-amz-content-sha256: %s\r\n", sha256);
    assert_non_null(strstr(scene->head, line));
    snprintf(line, sizeof line, "x-amz-meta-sha256: %s\r\n", sha256);
    assert_non_null(strstr(scene->head, line));
    assert_non_null(strstr(scene->head, "content-type: audio/mpeg\r\n"));
    assert_non_null(strstr(scene->head, "x-amz-security-token: token+/=\r\n"));
    assert_non_null(strstr(scene->head, "SignedHeaders=content-type;host;x-amz-content-sha256;"
                                        "x-amz-date;x-amz-meta-sha256;x-amz-security-token,"));
    assert_null(strstr(scene->head, "Expect:"));
    assert_null(strstr(scene->head, "very secret"));
}

static void tries_again_what_may_pass(void **state) {
    struct scene *scene = *state;
    static const char *const passing[] = {STATUS("429"),
                                          STATUS("500"),
                                          STATUS("502"),
                                          STATUS("503"),
                                          STATUS("504"),
                                          "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" END "short",
                                          ""};
    struct ms_error err;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        answers_are(scene, passing[i], OK);
        assert_int_equal(put(scene, &err), 0);
        assert_int_equal(atomic_load(&scene->requests), 2);
        assert_string_equal(scene->body, "hello");
        answers_are(scene, passing[i], NULL);
        assert_int_equal(put(scene, &err), MS_ENET);
        assert_int_equal(atomic_load(&scene->requests), 4);
        assert_null(strstr(err.text, "very secret"));
        assert_int_equal(put(scene, NULL),
                         MS_ENET); /* who does not care for the text gets the same code */
    }
    answers_are(scene, CODED("503", "SlowDown"), NULL);
    assert_int_equal(put(scene, &err), MS_ENET);
    assert_non_null(strstr(err.text, "503 SlowDown"));
}

static void never_tries_again_what_will_not_change(void **state) {
    struct scene *scene = *state;
    static const struct {
        const char *answer;
        int code;
    } lasting[] = {
        {CODED("400", "InvalidRequest"), MS_EINTERNAL},
        {CODED("400", "XAmzContentSHA256Mismatch"), MS_ECORRUPT},
        {CODED("400", "RequestTimeout"), MS_ENET}, /* a later run may be luckier */
        {STATUS("401"), MS_EDENIED},
        {CODED("403", "SignatureDoesNotMatch"), MS_EDENIED},
        {CODED("403", "RequestTimeTooSkewed"), MS_EDENIED},
        {CODED("404", "NoSuchBucket"), MS_ENOTFOUND},
        {STATUS("408"), MS_ENET},
        {STATUS("409"), MS_ECONFLICT},
        {STATUS("412"), MS_ECONFLICT},
        {STATUS("413"), MS_ETOOLARGE},
        {STATUS("301"), MS_EUSAGE},
        {STATUS("501"), MS_EINTERNAL},
    };
    struct ms_error err;
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        answers_are(scene, lasting[i].answer, OK);
        assert_int_equal(put(scene, &err), lasting[i].code);
        assert_int_equal(atomic_load(&scene->requests), 1);
        assert_non_null(strstr(err.text, "S3 answered"));
    }
}

/* ---- how long it waits ---- */

static void waits_as_long_as_the_server_asks(void **state) {
    struct scene *scene = *state;
    struct ms_s3 *s3 = (struct ms_s3 *)scene->store;
    struct ms_s3_call call = {.method = "GET"};
    answers_are(scene, "HTTP/1.1 503 S\r\nContent-Length: 0\r\nRetry-After: 7\r\n" END, NULL);
    assert_int_equal(ms_s3_attempt(s3, &call, NULL), 0);
    assert_true(call.may_retry);
    assert_int_equal(ms_s3_pause_ms(s3, &call, 1), 7000);
    answers_are(scene, "HTTP/1.1 503 S\r\nContent-Length: 0\r\nRetry-After: 900\r\n" END, NULL);
    assert_int_equal(ms_s3_attempt(s3, &call, NULL), 0);
    assert_int_equal(ms_s3_pause_ms(s3, &call, 1), 20000); /* but no longer than it wants to */
    answers_are(scene, STATUS("503"), NULL);
    assert_int_equal(ms_s3_attempt(s3, &call, NULL), 0);
    assert_in_range(ms_s3_pause_ms(s3, &call, 1), 0, 1);
}

static void waits_longer_each_time(void **state) {
    struct scene *scene = *state;
    struct ms_s3 *s3 = (struct ms_s3 *)scene->store;
    const struct ms_s3_call call = {.may_retry = true};
    const int most_ms[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 20000, 20000};
    s3->backoff_ms = 250;
    for (int i = 0; i < (int)(sizeof most_ms / sizeof *most_ms); i++)
        assert_in_range(ms_s3_pause_ms(s3, &call, i + 1), most_ms[i] / 2, most_ms[i]);
}

static void stops_waiting_when_told(void **state) {
    struct scene *scene = *state;
    struct ms_s3 *s3 = (struct ms_s3 *)scene->store;
    struct ms_s3_call call = {.may_retry = true, .status = 503, .retry_after_s = 900};
    const atomic_bool cancel = true;
    s3->store.cancel = &cancel;
    assert_int_equal(ms_s3_pause(s3, &call, 1, 0, NULL), MS_ECANCELED);
    call.retry_after_s = 0;
    call.closing = true; /* cleans up all the same */
    assert_int_equal(ms_s3_pause(s3, &call, 1, 0, NULL), 0);
    s3->store.cancel = NULL;
}

struct taken {
    char bytes[64];
    size_t size;
};

static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct taken *taken = context;
    (void)err;
    assert_true(taken->size + size < sizeof taken->bytes);
    memcpy(taken->bytes + taken->size, bytes, size);
    taken->size += size;
    return 0;
}

static void believes_no_server_that_sends_other_bytes(void **state) {
    struct scene *scene = *state;
    struct taken taken = {0};
    struct ms_object_info info;
#define PART(range, bytes)                                                                         \
    "HTTP/1.1 206 P\r\nETag: \"t\"\r\nContent-Range: bytes " range "\r\n" END bytes
    static const char *const lies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n" END "0123456789", /* all of it */
        PART("3-5/10", "345"), PART("2-4/10", "234567"), "HTTP/1.1 206 P\r\n" END "234"};

    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        answers_are(scene, lies[i], NULL);
        taken.size = 0;
        assert_int_not_equal(
            ms_store_get(scene->store, "queue", "a", 2, 4, take, &taken, &info, NULL), 0);
    }
    /* Broken off, gone on; and replaced by another object meanwhile. */
    answers_are(scene, "HTTP/1.1 200 OK\r\nETag: \"t\"\r\nContent-Length: 10\r\n" END "0123",
                PART("4-9/10", "456789"));
    taken.size = 0;
    assert_int_equal(ms_store_get(scene->store, "queue", "a", 0, -1, take, &taken, &info, NULL), 0);
    assert_int_equal(taken.size, 10);
    assert_memory_equal(taken.bytes, "0123456789", 10);
    assert_non_null(strstr(scene->head, "range: bytes=4-9\r\n"));
    assert_non_null(strstr(scene->head, "if-match: \"t\"\r\n"));
    answers_are(scene, "HTTP/1.1 200 OK\r\nETag: \"t\"\r\nContent-Length: 10\r\n" END "0123",
                STATUS("412"));
    taken.size = 0;
    assert_int_equal(ms_store_get(scene->store, "queue", "a", 0, -1, take, &taken, &info, NULL),
                     MS_ECONFLICT);
    /* An object without length, and one with a date. */
    answers_are(scene, "HTTP/1.1 200 OK\r\n" END "0123", NULL);
    assert_int_equal(ms_store_get(scene->store, "queue", "a", 0, -1, take, &taken, &info, NULL),
                     MS_ENET);
    answers_are(scene,
                "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nLast-Modified: Fri, 24 May 2013 00:00:01 "
                "GMT\r\nx-amz-meta-sha256: none\r\n" END,
                NULL);
    assert_int_equal(ms_store_head(scene->store, "queue", "a", &info, NULL), 0);
    assert_int_equal(info.modified_ms, 1369353601000);
    assert_string_equal(info.sha256, "");
    assert_int_equal(info.bytes, 10);
}

#define BEGUN                                                                                      \
    "HTTP/1.1 200 OK\r\n" END "<InitiateMultipartUploadResult><UploadId>a&amp;b/c</UploadId></"    \
    "InitiateMultipartUploadResult>"

/* Nine MiB: a request that begins the upload, two parts, one that completes it. */
static int put_parts(struct scene *scene, struct ms_object_info *info) {
    static char bytes[9 << 20];
    return ms_store_put(scene->store, "queue", "a",
                        &(struct ms_object_source){.bytes = bytes, .size = sizeof bytes}, info,
                        NULL);
}

static void completes_uploads_although_the_first_answer_was_an_error(void **state) {
    struct scene *scene = *state;
    answers_are(scene, BEGUN, OK);
    scene->answers[2] = OK;
    scene->answers[3] = CODED("200", "InternalError");
    scene->answers[4] =
        "HTTP/1.1 200 OK\r\n" END "<CompleteMultipartUploadResult><ETag>&quot;whole-2&quot;</ETag>"
        "</CompleteMultipartUploadResult>";
    struct ms_object_info info;
    assert_int_equal(put_parts(scene, &info), 0);
    assert_int_equal(atomic_load(&scene->requests), 5);
    assert_string_equal(info.etag, "\"whole-2\"");
    assert_memory_equal(scene->head, "POST /base/pre-queue/a?uploadId=a%26b%2Fc HTTP", 46);
    assert_string_equal(scene->body, "<CompleteMultipartUpload>"
                                     "<Part><PartNumber>1</PartNumber><ETag>\"tag\"</ETag></Part>"
                                     "<Part><PartNumber>2</PartNumber><ETag>\"tag\"</ETag></Part>"
                                     "</CompleteMultipartUpload>");
}

static void aborts_uploads_that_failed(void **state) {
    struct scene *scene = *state;
    static const struct {
        const char *part;
        int parts; /* requests for parts */
        const char *completion;
        int code;
    } failures[] = {
        {CODED("403", "AccessDenied"), 1, NULL, MS_EDENIED},
        {STATUS("500"), 4, NULL, MS_ENET},
        {OK, 2, CODED("400", "InvalidPart"), MS_EINTERNAL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" END, 1, NULL, MS_ENET}, /* without tag */
        {OK, 2, CODED("200", "Strange"), MS_ENET},
    };

    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        answers_are(scene, NULL, NULL);
        int number = 0;
        scene->answers[number++] = BEGUN;
        for (int part = 0; part < failures[i].parts; part++)
            scene->answers[number++] = failures[i].part;
        if (failures[i].completion != NULL)
            scene->answers[number++] = failures[i].completion;
        scene->answers[number++] = "HTTP/1.1 204 No Content\r\n" END;
        assert_int_equal(put_parts(scene, NULL), failures[i].code);
        assert_int_equal(atomic_load(&scene->requests), number);
        assert_memory_equal(scene->head, "DELETE /base/pre-queue/a?uploadId=a%26b%2Fc HTTP", 48);
    }
}

static void makes_buckets_only_when_it_may(void **state) {
    struct scene *scene = *state;
    answers_are(scene, CODED("404", "NoSuchBucket"), OK);
    assert_int_equal(put(scene, NULL), MS_ENOTFOUND);
    assert_int_equal(atomic_load(&scene->requests), 1);
    scene->options.create_buckets = true;
    struct ms_store *store;
    assert_int_equal(ms_store_open(&scene->options, &store, NULL), 0);
    ms_store_close(scene->store);
    scene->store = store;
    answers_are(scene, CODED("404", "NoSuchBucket"), CODED("409", "BucketAlreadyOwnedByYou"));
    scene->answers[2] = OK;
    assert_int_equal(put(scene, NULL), 0);
    assert_int_equal(atomic_load(&scene->requests), 3);
}

static void accepts_credentials_that_may_not_list(void **state) {
    struct scene *scene = *state;
    answers_are(scene, OK, NULL);
    assert_int_equal(ms_store_ping(scene->store, NULL), 0);
    assert_memory_equal(scene->head, "GET /base/ HTTP/1.1", 19);
    answers_are(scene, CODED("403", "AccessDenied"), NULL);
    assert_int_equal(ms_store_ping(scene->store, NULL), 0);
    answers_are(scene, CODED("403", "InvalidAccessKeyId"), NULL);
    assert_int_equal(ms_store_ping(scene->store, NULL), MS_EDENIED);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(signs_and_describes_what_it_sends),
        TEST(tries_again_what_may_pass),
        TEST(never_tries_again_what_will_not_change),
        TEST(waits_as_long_as_the_server_asks),
        TEST(waits_longer_each_time),
        TEST(stops_waiting_when_told),
        TEST(believes_no_server_that_sends_other_bytes),
        TEST(completes_uploads_although_the_first_answer_was_an_error),
        TEST(aborts_uploads_that_failed),
        TEST(makes_buckets_only_when_it_may),
        TEST(accepts_credentials_that_may_not_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
