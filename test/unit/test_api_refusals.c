/* What the API refuses, and how: the right status in the right form, and nothing stored or queued.
 */
#include "api_site.h"

/* ---- what is refused ---- */

struct refusal {
    const char *what, *method, *path, *type;
    const char *body;
    size_t size;
    int status;
    const char *code; /* NULL: a reason */
};

#define V1(what, body, status)                                                                     \
    {what, "POST", "/apiv1/separate", "application/json", body, sizeof body - 1, status, NULL}
#define V2(query, status, code)                                                                    \
    {query, "POST", "/apiv2/jobs?" query, "audio/wav", WAV, sizeof WAV - 1, status, code}
#define RAW(what, type, body, status, code)                                                        \
    {what, "POST", "/apiv2/jobs", type, body, sizeof body - 1, status, code}
#define FORM(what, body, status, code)                                                             \
    RAW(what, "multipart/form-data; boundary=x", body, status, code)
#define PLAIN(method, path, status, code) {path, method, path, NULL, "", 0, status, code}
#define SONG64 "UklGRiQIAABXQVZFZm10IA==" /* WAV in base64 */

static const struct refusal refusals[] = {
    V1("no body", "", 400),
    V1("no JSON", "mp3=abc", 400),
    V1("half JSON", "{\"mp3\": \"AAAA\"", 400),
    V1("null", "null", 400),
    V1("a list", "[]", 400),
    V1("no mp3", "{}", 400),
    V1("null mp3", "{\"mp3\": null}", 400),
    V1("mp3 a number", "{\"mp3\": 7}", 400),
    V1("bad base64", "{\"mp3\": \"@@@@\"}", 400),
    V1("cut base64", "{\"mp3\": \"QUJDR\"}", 400),
    V1("empty", "{\"mp3\": \"\"}", 422),
    V1("text", "{\"mp3\": \"aGVsbG8sIHRoaXMgaXMgdGV4dA==\"}", 422),
    V1("unknown model", "{\"mp3\": \"" SONG64 "\", \"model\": \"nobody\"}", 422),
    V1("a path for a model", "{\"mp3\": \"" SONG64 "\", \"model\": \"../../etc/passwd\"}", 422),
    V1("model a number", "{\"mp3\": \"" SONG64 "\", \"model\": 3}", 400),
    V1("data of text", "{\"mp3\": \"data:audio/mpeg,abc\"}", 400),
    V1("data without end", "{\"mp3\": \"data:audio/mpeg;base64\"}", 400),
    V1("callback no URL", "{\"mp3\": \"" SONG64 "\", \"callback\": \"localhost\"}", 400),
    V1("callback a number", "{\"mp3\": \"" SONG64 "\", \"callback\": 5}", 400),
    V1("callback a list", "{\"mp3\": \"" SONG64 "\", \"callback\": []}", 400),
    V1("no URL", "{\"mp3\": \"" SONG64 "\", \"callback\": {\"data\": 1}}", 400),
    V1("ftp", "{\"mp3\": \"" SONG64 "\", \"callback\": {\"url\": \"ftp://localhost/\"}}", 400),
    V1("no host", "{\"mp3\": \"" SONG64 "\", \"callback\": {\"url\": \"http://\"}}", 400),
    V1("port", "{\"mp3\": \"" SONG64 "\", \"callback\": {\"url\": \"http://h:99999/\"}}", 400),
    V1("lines", "{\"mp3\": \"" SONG64 "\", \"callback\": {\"url\": \"http://h\\r\\nX: y\"}}", 400),
    {"v1, audio itself", "POST", "/apiv1/separate", "audio/wav", WAV, sizeof WAV - 1, 415, NULL},

    V2("model=nobody", 422, "unknown_model"),
    V2("stems=vocals,kazoo", 422, "unknown_stem"),
    V2("stems=guitar", 422, "unknown_stem"), /* another model's */
    V2("stems=vocals,", 422, "invalid_option"),
    V2("two_stems=kazoo", 422, "unknown_stem"),
    V2("two_stems=vocals&stems=vocals", 422, "invalid_option"),
    V2("format=exe", 422, "invalid_option"),
    V2("format=aaaaaaaaaaaaaaaaaaaaaa", 422, "invalid_option"),
    V2("colour=blue", 422, "unknown_option"),
    V2("shifts=many", 422, "invalid_option"),
    V2("shifts=1000000000000000000000", 422, "invalid_option"),
    V2("shifts=21", 422, "invalid_option"),
    V2("shifts=-1", 422, "invalid_option"),
    V2("seed=9007199254740993", 422, "invalid_option"),
    V2("overlap=nan", 422, "invalid_option"),
    V2("overlap=1.5", 422, "invalid_option"),
    V2("overlap=0.1.2", 422, "invalid_option"),
    V2("clip=maybe", 422, "invalid_option"),
    V2("precision=float16", 422, "invalid_option"),
    V2("precision=BF16", 422, "invalid_option"),
    V2("bitrate=-5", 422, "invalid_option"),
    V2("bitrate=1000", 422, "invalid_option"),
    V2("callback_url=ftp://h/", 422, "invalid_callback"),
    V2("callback_url=h", 422, "invalid_callback"),
    V2("name=%ff", 400, "invalid_query"),
    V2("name=%00", 400, "invalid_query"),
    RAW("empty", "audio/wav", "", 422, "empty_audio"),
    RAW("text", "audio/wav", "hello, this is text", 422, "not_audio"),
    RAW("text/plain", "text/plain", WAV, 415, "unsupported_media_type"),
    RAW("application/xml", "application/xml", WAV, 415, "unsupported_media_type"),
    RAW("image/png", "image/png", WAV, 415, "unsupported_media_type"),
    RAW("an upload", "application/json", "{\"source\": {\"upload\": \"a\"}}", 422,
        "unknown_upload"),
    RAW("no source", "application/json", "{}", 422, "missing_source"),
    RAW("no JSON", "application/json", "{", 400, "invalid_json"),
    RAW("no boundary", "multipart/form-data", "--x\r\n", 400, "invalid_multipart"),
    FORM("no parts", "--x--\r\n", 400, "missing_file"),
    FORM("no end", "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" WAV, 400,
         "invalid_multipart"),
    FORM("no file",
         "--x\r\nContent-Disposition: form-data; name=\"format\"\r\n\r\nmp3\r\n--x--\r\n", 400,
         "missing_file"),
    FORM("two files",
         "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" WAV
         "\r\n--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" WAV "\r\n--x--\r\n",
         422, "too_many_files"),
    FORM("unknown field",
         "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n" WAV
         "\r\n--x\r\nContent-Disposition: form-data; name=\"colour\"\r\n\r\nblue\r\n--x--\r\n",
         422, "unknown_option"),

    PLAIN("GET", "/apiv1/track/" ID0 "/bass", 404, NULL),
    PLAIN("GET", "/apiv1/track/x/bass", 404, NULL),
    PLAIN("GET", "/apiv1/track/" ID0 "/%2e%2e", 400, NULL),
    PLAIN("GET", "/apiv1/track/%2e%2e%2f%2e%2e/bass", 400, NULL),
    PLAIN("GET", "/apiv1/track/" ID0 "%00/bass", 400, NULL),
    PLAIN("GET", "/apiv1/track/../../etc/passwd", 400, NULL),
    PLAIN("GET", "/apiv1/track/" ID0 "/.mp3", 404, NULL),
    PLAIN("GET", "/apiv1/remove/" ID0 "/bass", 404, NULL),
    PLAIN("DELETE", "/apiv1/remove/x/bass", 404, NULL),
    PLAIN("PUT", "/apiv1/track/" ID0 "/bass", 405, NULL),
    PLAIN("POST", "/apiv1/queue", 405, NULL),
    PLAIN("GET", "/apiv1/separate", 405, NULL),
    PLAIN("GET", "/apiv1/", 404, NULL),
    PLAIN("GET", "/nothing", 404, NULL),
    PLAIN("POST", "/healthz", 405, NULL),
    PLAIN("GET", "/apiv2/nothing", 404, "not_found"),
    PLAIN("PUT", "/apiv2/jobs", 405, "method_not_allowed"),
    PLAIN("GET", "/apiv2/jobs/" ID0, 404, "unknown_job"),
    PLAIN("GET", "/apiv2/jobs/x", 404, "unknown_job"),
    PLAIN("DELETE", "/apiv2/jobs/" ID0, 404, "unknown_job"),
    PLAIN("GET", "/apiv2/jobs/" ID0 "/events", 404, "unknown_job"),
    PLAIN("GET", "/apiv2/jobs/" ID0 "/stems/bass.mp3", 404, "unknown_job"),
    PLAIN("GET", "/apiv2/jobs/%2e%2e/stems/bass.mp3", 400, "bad_request"),
    PLAIN("GET", "/apiv2/jobs?limit=0", 422, "invalid_limit"),
    PLAIN("GET", "/apiv2/jobs?limit=100000", 422, "invalid_limit"),
    PLAIN("GET", "/apiv2/jobs?limit=x", 422, "invalid_limit"),
    PLAIN("GET", "/apiv2/jobs?state=asleep", 422, "invalid_state"),
    PLAIN("GET", "/apiv2/jobs?cursor=%00", 400, "invalid_query"),
    PLAIN("GET", "/apiv2/jobs?limit=5&state=%ff", 400, "invalid_query"),
    PLAIN("GET", "/apiv2/jobs?limit=%zz", 400, "invalid_query"),
    PLAIN("GET", "/apiv2/jobs?cursor=%27%20or%201", 422, "invalid_cursor"),
};

static void refuses_what_is_wrong(void **state) {
    (void)state;
    expect_empty();
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        char type[128] = "";
        if (r->type != NULL)
            (void)snprintf(type, sizeof type, "Content-Type: %s\r\n", r->type);
        expect_problem(r->what, call_at(peer.port, r->method, r->path, type, r->body, r->size),
                       r->status, r->code);
    }
    expect_empty();
}

/* Which models there are is told, in both forms of errors. */
static void an_unknown_model_is_told_the_known_ones(void **state) {
    static const char v1[] = "{\"mp3\": \"" SONG64 "\", \"model\": \"nobody\"}";
    (void)state;
    struct answer answers[] = {
        post("/apiv2/jobs?model=nobody", "audio/wav", WAV, sizeof WAV - 1),
        post("/apiv1/separate", "application/json", v1, sizeof v1 - 1),
    };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(answers[i].status, 422);
        assert_non_null(strstr(answers[i].body, "nobody"));
        assert_non_null(strstr(answers[i].body, "tiny, six"));
        answer_free(&answers[i]);
    }
    expect_empty();
}

static void refuses_long_names_and_other_methods(void **state) {
    char *path = malloc(11000);
    (void)state;
    assert_non_null(path);
    memset(path, 'a', 11000);
    memcpy(path, "/apiv1/track/" ID0 "/", 14 + 56);
    path[7900] = '\0';
    expect_problem("a long track", call("GET", path), 404, NULL);
    memset(path, 'a', 7900);
    memcpy(path, "/apiv2/jobs/", 12);
    path[7000] = '\0';
    expect_problem("a long id", call("GET", path), 404, "unknown_job");
    memset(path, 'a', 10999);
    path[10999] = '\0';
    for (int v2 = 0; v2 < 2; v2++) { /* in the form of the API, though the head is not read */
        memcpy(path, v2 ? "/apiv2/jobs?name=" : "/apiv1/queue?name", 17);
        expect_problem("a long line", call("POST", path), 414, v2 ? "uri_too_long" : NULL);
    }
    struct answer head = call("HEAD", path);
    assert_int_equal(head.status, 414);
    assert_int_equal(head.body_bytes, 0);
    answer_free(&head);
    char *headers = malloc(20000);
    assert_non_null(headers);
    memset(headers, 'a', 17000);
    memcpy(headers, "X: ", 3);
    memcpy(headers + 17000, "\r\n", 3);
    expect_problem("long headers", call_at(peer.port, "GET", "/apiv2/jobs", headers, NULL, 0), 431,
                   "headers_too_large");
    free(headers);
    free(path);
    char *song =
        ms_strdupf("{\"mp3\":\"" SONG64 "\",\"callback\":{\"url\":\"http://h/%2100d\"}}", 1);
    assert_non_null(song);
    for (char *c = strstr(song, "h/ ") + 2; *c == ' '; c++)
        *c = 'a';
    expect_problem("a long URL", post("/apiv1/separate", "application/json", song, strlen(song)),
                   400, NULL);
    free(song);
    struct answer answer = call("PUT", "/apiv1/remove/" ID0 "/bass");
    assert_string_equal(header(&answer, "Allow"), "GET, HEAD, DELETE");
    answer_free(&answer);
    answer = call("HEAD", "/apiv1/remove/" ID0 "/bass");
    assert_int_equal(answer.status, 405);
    assert_string_equal(header(&answer, "Allow"), "GET, DELETE");
    answer_free(&answer);
    expect_empty();
}

/* GET removes in /apiv1, and a page's images need no Origin. */
static void a_page_of_others_removes_nothing(void **state) {
    static const char *const foreign[] = {"cross-site", "same-site", "anything"};
    static const char *const own[] = {"same-origin", "none"}; /* the address bar */
    static const char path[] = "/apiv1/remove/" ID0 "/bass";
    char header[64];
    (void)state;
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        (void)snprintf(header, sizeof header, "Sec-Fetch-Site: %s\r\n", foreign[i]);
        expect_problem(foreign[i], call_at(peer.port, "GET", path, header, NULL, 0), 403, NULL);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        (void)snprintf(header, sizeof header, "Sec-Fetch-Site: %s\r\n", own[i]);
        expect_problem(own[i], call_at(peer.port, "GET", path, header, NULL, 0), 404, NULL);
    }
}

static void refuses_what_is_too_large(void **state) {
    const size_t size = 3 * MAX_SONG;
    char *song = calloc(1, size + 100);
    (void)state;
    assert_non_null(song);
    memcpy(song, WAV, sizeof WAV - 1);
    expect_problem("v2", post("/apiv2/jobs", "audio/wav", song, MAX_SONG + 1), 413, "too_large");
    char *text = ms_base64_encode(song, MAX_SONG + 1);
    char *json = ms_strdupf("{\"mp3\":\"%s\"}", text);
    assert_non_null(json);
    expect_problem("v1", post("/apiv1/separate", "application/json", json, strlen(json)), 413,
                   NULL);
    expect_problem("by its length",
                   call_at(peer.port, "POST", "/apiv2/jobs",
                           "Content-Type: audio/wav\r\nContent-Length: 999999999999\r\n", NULL, 0),
                   400, "bad_request"); /* two lengths */
    free(json);
    free(text);
    json = ms_strdupf(
        "POST /apiv2/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n");
    assert_non_null(json);
    text = ask(peer.port, json);
    assert_int_equal(status_of(text), 413);
    assert_non_null(strstr(text, "\"code\":\"too_large\""));
    free(text);
    free(json);
    free(song);
    expect_empty();
}

static void answers_while_the_queue_is_lost(void **state) {
    static const struct {
        const char *method, *path, *type, *code;
        const char *body;
    } calls[] = {
        {"POST", "/apiv1/separate", "application/json", NULL, "{\"mp3\": \"" SONG64 "\"}"},
        {"GET", "/apiv1/queue", NULL, NULL, ""},
        {"GET", "/apiv1/track/" ID0 "/bass", NULL, NULL, ""},
        {"DELETE", "/apiv1/remove/" ID0 "/bass", NULL, NULL, ""},
        {"POST", "/apiv2/jobs", "application/octet-stream", "queue_unavailable", "fLaC"},
        {"GET", "/apiv2/jobs", NULL, "queue_unavailable", ""},
        {"GET", "/apiv2/jobs/" ID0, NULL, "queue_unavailable", ""},
        {"GET", "/apiv2/jobs/" ID0 "/events", NULL, "queue_unavailable", ""},
        {"DELETE", "/apiv2/jobs/" ID0, NULL, "queue_unavailable", ""},
        {"GET", "/readyz", NULL, NULL, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char type[128] = "";
        if (calls[i].type != NULL)
            (void)snprintf(type, sizeof type, "Content-Type: %s\r\n", calls[i].type);
        expect_problem(calls[i].path,
                       call_at(lost_peer.port, calls[i].method, calls[i].path, type, calls[i].body,
                               strlen(calls[i].body)),
                       503, calls[i].code);
    }
    static const char *const alive[] = {"/", "/healthz", "/metrics", "/apiv2/models"};
    for (size_t i = 0; i < sizeof alive / sizeof *alive; i++) {
        struct answer answer = call_at(lost_peer.port, "GET", alive[i], "", NULL, 0);
        expect(alive[i], &answer, 200);
        answer_free(&answer);
    }
    expect_empty();
}

static void answers_while_the_store_is_lost(void **state) {
    static const char song[] = "{\"mp3\":\"" SONG64 "\"}";
    static const char json[] = "Content-Type: application/json\r\n";
    struct ms_http_server_options options = {.host = "127.0.0.1", .threads = 2};
    const struct ms_store_options nowhere = {.url = "s3://",
                                             .endpoint = "http://127.0.0.1:1",
                                             .access_key = "key",
                                             .secret_key = "secret"};
    struct ms_api *without = new_api(queue_url, &nowhere);
    struct peer there;
    (void)state;
    ms_api_serve(without, &options);
    peer_start(&there, &options);
    expect_problem("v1",
                   call_at(there.port, "POST", "/apiv1/separate", json, song, sizeof song - 1), 503,
                   NULL);
    expect_problem("v2", call_at(there.port, "POST", "/apiv2/jobs", "", WAV, sizeof WAV - 1), 503,
                   "store_unavailable");
    expect_problem("readiness", call_at(there.port, "GET", "/readyz", "", NULL, 0), 503, NULL);
    struct answer answer = call_at(there.port, "GET", "/apiv1/queue", "", NULL, 0);
    expect("the queue", &answer, 200);
    answer_free(&answer);
    peer_stop(&there, 1000);
    ms_api_free(without);
    expect_empty();
}

/* One that takes connections and says nothing. */
static int listen_silently(char endpoint[60]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
                listen(fd, 16) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    (void)snprintf(endpoint, 60, "http://127.0.0.1:%d", ntohs(address.sin_port));
    return fd;
}

static void answers_while_the_store_keeps_silent(void **state) {
    struct ms_http_server_options options = {.host = "127.0.0.1", .threads = 1};
    struct ms_store_options silent = {.url = "s3://",
                                      .access_key = "key",
                                      .secret_key = "secret",
                                      .attempts = 1,
                                      .stall_timeout_s = PATIENCE_S};
    char endpoint[60];
    const int listener = listen_silently(endpoint);
    (void)state;
    silent.endpoint = endpoint;
    struct ms_api *without = new_api(queue_url, &silent);
    ms_api_serve(without, &options);
    struct peer there;
    peer_start(&there, &options);
    char id[MS_JOB_ID_HEX];
    submit("", id);
    const int waiting = dial(there.port);
    char request[256];
    (void)snprintf(request, sizeof request,
                   "DELETE /apiv2/jobs/%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                   id);
    assert_true(say_text(waiting, request));
    const int held = accept(listener, NULL, NULL); /* now the one thread for such waits */
    assert_true(held >= 0);
    struct answer answer = call_at(there.port, "GET", "/apiv1/queue", "", NULL, 0);
    expect("the queue", &answer, 200);
    assert_non_null(strstr(answer.body, id));
    answer_free(&answer);
    answer = call_at(there.port, "GET", "/metrics", "", NULL, 0);
    expect("metrics", &answer, 200);
    answer_free(&answer);
    close(listener);
    close(held);
    char *text = hear_all(waiting, NULL, NULL);
    assert_non_null(strstr(text, " 503 "));
    assert_non_null(strstr(text, "\r\nRetry-After: "));
    free(text);
    close(waiting);
    expect_problem("readiness", call_at(there.port, "GET", "/readyz", "", NULL, 0), 503, NULL);
    peer_stop(&there, 1000);
    ms_api_free(without);
    erase(id);
    expect_empty();
}

static void tell_disks(int port, int status, const char *says) {
    static struct ms_metric *const list[] = {&ms_api_disk_free, NULL};
    struct answer answer = call_at(port, "GET", "/readyz", "", NULL, 0);
    expect("readiness", &answer, status);
    assert_non_null(strstr(answer.body, says));
    answer_free(&answer);
    ms_metrics_use(list);
    answer = call_at(port, "GET", "/metrics", "", NULL, 0);
    expect("metrics", &answer, 200);
    assert_non_null(strstr(answer.body, "\nmsaas_disk_free_bytes{holds=\"store\"} "));
    answer_free(&answer);
}

static void is_not_ready_while_a_disk_is_full(void **state) {
    struct ms_api_options options = {
        .queue_url = queue_url,
        .store = {.url = store_url, .create_buckets = true},
        .models = models,
        .model_count = 2,
        .disks = {{"queue", NULL}, {"store", ms_store_folder(store_url)}, {"scratch", "/proc"}},
    };
    char says[200];
    (void)state;
    assert_string_equal(options.disks[1].path, objects);
    (void)snprintf(says, sizeof says, "the disk of %s has ", objects);
    for (int i = 0; i < 3; i++) {
        static const struct {
            int64_t least;
            bool scratch;
        } cases[] = {{INT64_MAX, false}, {1, false}, {1, true}};
        struct ms_http_server_options server = {.host = "127.0.0.1", .threads = 2};
        struct ms_api *own = NULL;
        options.min_free_bytes = cases[i].least;
        options.disks[2].path = cases[i].scratch ? "/proc" : NULL;
        assert_int_equal(ms_api_new(&options, &own, NULL), 0);
        ms_api_serve(own, &server);
        struct peer there;
        peer_start(&there, &server);
        tell_disks(there.port, i == 1 ? 200 : 503,
                   i == 0   ? says
                   : i == 1 ? "ready"
                            : "the disk of /proc has 0 MB free and needs ");
        peer_stop(&there, 1000);
        ms_api_free(own);
    }
}

static void refuses_jobs_while_it_drains(void **state) { /* the last: there is no way back */
    (void)state;
    ms_api_set_draining(api);
    expect_problem("readiness", call("GET", "/readyz"), 503, NULL);
    struct answer answer = call("GET", "/healthz");
    expect("liveness", &answer, 200);
    answer_free(&answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(an_unknown_model_is_told_the_known_ones),
        cmocka_unit_test(refuses_long_names_and_other_methods),
        cmocka_unit_test(a_page_of_others_removes_nothing),
        cmocka_unit_test(refuses_what_is_too_large),
        cmocka_unit_test(answers_while_the_queue_is_lost),
        cmocka_unit_test(answers_while_the_store_is_lost),
        cmocka_unit_test(answers_while_the_store_keeps_silent),
        cmocka_unit_test(is_not_ready_while_a_disk_is_full),
        cmocka_unit_test(refuses_jobs_while_it_drains),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
