/* What can be asked of one backend only: broken networks, wrong secrets and presigned URLs of S3;
 * links and leftovers of a folder. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "contract.h"
#include "forwarder.h"
#include "msaas/http_client.h"
#include "msaas/sigv4.h"
#include "msaas/sys.h"

/* ---- S3 from below: one request as the test wants it ---- */

static int send_raw(const char *method, const char *path, const char *query, const char *sha256,
                    const char *bytes, char reply[20000]) {
    char headers[4][200];
    const char *host = world.endpoint + strlen("http://");
    const char *lines[6] = {headers[0], headers[1], sha256 != NULL ? headers[2] : NULL};
    const time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    char date[17];
    strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(headers[0], sizeof headers[0], "x-amz-date: %s", date);
    snprintf(headers[1], sizeof headers[1], "x-amz-content-sha256: UNSIGNED-PAYLOAD");
    snprintf(headers[2], sizeof headers[2], "x-amz-meta-sha256: %s", sha256 != NULL ? sha256 : "");
    char authorization[MS_SIGV4_AUTHORIZATION_MAX + 20];
    strcpy(authorization, "Authorization: ");
    expect(0,
           ms_sigv4_authorization(&(struct ms_sigv4_request){.method = method,
                                                             .host = host,
                                                             .path = path,
                                                             .query = query,
                                                             .headers = lines,
                                                             .payload_sha256 = "UNSIGNED-PAYLOAD",
                                                             .region = "us-east-1",
                                                             .service = "s3",
                                                             .access_key = world.access_key,
                                                             .secret_key = world.secret_key,
                                                             .amz_date = date},
                                  authorization + strlen(authorization), &err));
    lines[sha256 != NULL ? 3 : 2] = authorization;
    char url[900];
    snprintf(url, sizeof url, "%s%s?%s", world.endpoint, path, query);
    struct ms_http_client *client = NULL;
    expect(0, ms_http_client_new(&client, &err));
    struct ms_http_response response;
    expect(0, ms_http_send(client,
                           &(struct ms_http_request){
                               .method = method,
                               .url = url,
                               .headers = lines,
                               .body = bytes,
                               .body_bytes = bytes != NULL ? (int64_t)strlen(bytes) : 0},
                           &response, &err));
    snprintf(reply, 20000, "%s", response.body);
    ms_http_client_free(client);
    return response.status;
}

int uploads_left(void) {
    char path[100];
    if (!world.s3) {
        snprintf(path, sizeof path, "%s/store/.tmp", world.folder);
        return count_entries(path);
    }
    snprintf(path, sizeof path, "/%s", world.bucket);
    char reply[20000];
    assert_int_equal(send_raw("GET", path, "uploads=", NULL, NULL, reply), 200);
    int count = 0;
    for (const char *at = reply; (at = strstr(at, "<UploadId>")) != NULL; at++)
        count++;
    return count;
}

void damage(const char *key) {
    char path[200];
    if (!world.s3) {
        snprintf(path, sizeof path, "%s/store/%s/%s", world.folder, BUCKET, key);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        char byte;
        assert_int_equal(pread(fd, &byte, 1, 3), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, 3), 1);
        close(fd);
        return;
    }
    struct ms_object_info info;
    struct heap heap = {0};
    expect(0, ms_store_get(world.store, BUCKET, key, 0, -1, write_heap, &heap, &info, &err));
    heap.bytes[3] ^= 1;
    snprintf(path, sizeof path, "/%s/%s", world.bucket, key);
    char reply[20000];
    assert_int_equal(send_raw("PUT", path, "", info.sha256, heap.bytes, reply), 200);
    free(heap.bytes);
}

/* ---- S3 ---- */

static void check_denied(const struct ms_store_options *options) {
    struct ms_store *store = open_store(options);
    char path[96];
    snprintf(path, sizeof path, "%s/5mib", world.folder);
    write_file(path, 5 * MIB, 5);
    struct ms_error text;
    assert_int_equal(ms_store_ping(store, &text), MS_EDENIED);
    assert_null(strstr(text.text, options->secret_key));
    struct ms_object_info info;
    expect(MS_EDENIED, ms_store_head(store, BUCKET, "first", &info, &err));
    struct heap heap = {0};
    expect(MS_EDENIED, ms_store_get(store, BUCKET, "first", 0, -1, write_heap, &heap, &info, &err));
    assert_null(heap.bytes);
    expect(MS_EDENIED, put_text(store, "denied", "x"));
    expect(MS_EDENIED, ms_store_put(store, BUCKET, "denied",
                                    &(struct ms_object_source){.path = path}, NULL, &err));
    expect(MS_EDENIED, ms_store_put(store, BUCKET, "denied",
                                    &(struct ms_object_source){.path = world.large}, NULL, &err));
    expect(MS_EDENIED, ms_store_remove(store, BUCKET, "first", &err));
    ms_store_close(store);
    unlink(path);
}

static void is_denied_with_wrong_credentials(void **state) {
    struct ms_store_options options = world.options;
    (void)state;
    options.secret_key = "not-the-secret-of-this-key";
    check_denied(&options);
    options = world.options;
    options.access_key = "AKNOSUCHKEY";
    check_denied(&options);
}

static void finds_buckets_in_host_names(void **state) {
    struct ms_store_options options = world.options;
    char endpoint[60];
    (void)state;
    snprintf(endpoint, sizeof endpoint, "http://localhost%s/", strrchr(world.endpoint, ':'));
    options.endpoint = endpoint;
    options.virtual_host = true;
    struct ms_store *store = open_store(&options);
    expect(0, ms_store_ping(store, &err));
    expect(0, put_text(store, "virtual/\xc3\xa4 host", "by name"));
    struct heap heap = {0};
    expect(0, ms_store_get(store, BUCKET, "virtual/\xc3\xa4 host", 0, -1, write_heap, &heap, NULL,
                           &err));
    assert_string_equal(heap.bytes, "by name");
    char *url = NULL;
    expect(0, ms_store_presign(store, BUCKET, "a", NULL, 60, &url, &err));
    assert_non_null(strstr(url, world.bucket));
    assert_true(strstr(url, world.bucket) < strstr(url, "localhost"));
    free(url);
    free(heap.bytes);
    ms_store_close(store);
}

/* What curl makes of the URL: its exit code; what it wrote into the file. */
static int curl(const char *url, const char *path) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execlp("curl", "curl", "-sf", "--noproxy", "*", "-o", path, url, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Whether curl gets a header that begins so, in small letters, with this value. */
static bool answer_has(const char *url, const char *name, const char *value) {
    char path[96];
    size_t size;
    snprintf(path, sizeof path, "%s/headers", world.folder);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execlp("curl", "curl", "-sf", "--noproxy", "*", "-D", path, "-o", "/dev/null", url,
               (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    char *text = read_file(path, &size);
    char *line = strcasestr(text, name);
    const bool has = line != NULL && strncmp(line + strlen(name), value, strlen(value)) == 0;
    free(text);
    unlink(path);
    return has;
}

static void presigns_urls_that_curl_can_get(void **state) {
    static const char key[] = "some song/\xc3\xa4&b=c+d%20.mp3";
    static const char name[] = "attachment; filename=\"a song & more; +1.mp3\"; "
                               "filename*=UTF-8''%C3%A4%20song.mp3";
    char *url = NULL, *bytes, path[96];
    size_t size;
    (void)state;
    snprintf(path, sizeof path, "%s/curl", world.folder);
    expect(0, put_text(world.store, key, "through curl"));
    expect(0, ms_store_presign(world.store, BUCKET, key, name, 600, &url, &err));
    assert_int_equal(curl(url, "/dev/null"), 0);
    assert_true(answer_has(url, "content-disposition: ", name));
    /* The name is signed. */
    char *at = strstr(url, "song%20%26%20more");
    assert_non_null(at);
    *at = 'w';
    assert_int_equal(curl(url, path), 22);
    free(url);
    expect(0, ms_store_presign(world.store, BUCKET, key, NULL, 600, &url, &err));
    assert_int_equal(curl(url, path), 0);
    assert_false(answer_has(url, "content-disposition: ", ""));
    bytes = read_file(path, &size);
    assert_int_equal(size, 12);
    assert_memory_equal(bytes, "through curl", 12);
    free(bytes);
    unlink(path);
    url[strlen(url) - 1] = url[strlen(url) - 1] == '0' ? '1' : '0';
    assert_int_equal(curl(url, path), 22); /* 403 */
    free(url);
    unlink(path);
    for (int i = 0; i < 3; i++)
        expect(MS_EUSAGE, ms_store_presign(world.store, BUCKET, key, NULL,
                                           (int[]){0, -1, 604801}[i], &url, &err));
}

/* A store behind a forwarder. */
static struct ms_store *open_behind(struct forwarder *forwarder, int attempts,
                                    int stall_timeout_s) {
    static char endpoint[60];
    struct ms_store_options options = world.options;
    forwarder_start(forwarder, (int)strtol(strrchr(world.endpoint, ':') + 1, NULL, 10));
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", forwarder->port);
    options.endpoint = endpoint;
    options.attempts = attempts;
    options.backoff_ms = 1;
    options.stall_timeout_s = stall_timeout_s;
    return open_store(&options);
}

static void check_large(struct ms_store *store, const char *key) {
    char path[96];
    snprintf(path, sizeof path, "%s/behind", world.folder);
    expect(0, ms_store_fetch(store, BUCKET, key, path, INT64_MAX, &err));
    char sha256[MS_SHA256_HEX];
    expect(0, ms_sha256_of_file(path, sha256, &err));
    assert_string_equal(sha256, world.large_sha256);
    unlink(path);
}

static void goes_on_where_a_connection_broke(void **state) {
    struct forwarder forwarder;
    struct ms_store *store = open_behind(&forwarder, 3, 0);
    const int left = uploads_left();
    (void)state;
    atomic_store(&forwarder.after_up, 3 * MIB);
    atomic_store(&forwarder.breaks, 2);
    expect(0, ms_store_put(store, BUCKET, "broken", &(struct ms_object_source){.path = world.large},
                           NULL, &err));
    assert_int_equal(atomic_load(&forwarder.breaks), 0);
    assert_int_equal(uploads_left(), left);
    /* Ten breaks, more than the attempts: each brought some bytes. */
    atomic_store(&forwarder.after_up, 0);
    atomic_store(&forwarder.after_down, MIB);
    atomic_store(&forwarder.breaks, 10);
    check_large(store, "broken");
    assert_int_equal(atomic_load(&forwarder.breaks), 0);
    ms_store_close(store);
    forwarder_stop(&forwarder);
}

static void believes_an_upload_whose_last_answer_got_lost(void **state) {
    static const char *const requests[] = {"PUT /", "POST /"};
    struct forwarder forwarder;
    struct ms_store *store = open_behind(&forwarder, 3, 0);
    const int left = uploads_left();
    (void)state;
    for (int i = 0; i < 2; i++) {
        atomic_store(&forwarder.swallow, i == 0 ? requests[0] : "<CompleteMultipartUpload>");
        atomic_store(&forwarder.breaks, 1);
        expect(0, ms_store_put(store, BUCKET, "lost",
                               &(struct ms_object_source){.path = world.large}, NULL, &err));
        assert_int_equal(atomic_load(&forwarder.breaks), 0);
        check_large(store, "lost");
        assert_int_equal(uploads_left(), left);
    }
    ms_store_close(store);
    forwarder_stop(&forwarder);
}

static void gives_up_when_the_server_is_gone(void **state) {
    struct forwarder forwarder;
    struct ms_store *store = open_behind(&forwarder, 3, 0);
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/gone", world.folder);
    expect(0, ms_store_put(store, BUCKET, "gone", &(struct ms_object_source){.path = world.large},
                           NULL, &err));
    ms_store_close(store);
    forwarder_stop(&forwarder);

    store = open_behind(&forwarder, 3, 0);
    atomic_store(&forwarder.gone_then, true);
    atomic_store(&forwarder.after_down, 5 * MIB);
    atomic_store(&forwarder.breaks, 1);
    expect(MS_ENET, ms_store_fetch(store, BUCKET, "gone", path, INT64_MAX, &err));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(atomic_load(&forwarder.connections), 3);
    atomic_store(&forwarder.gone, false);
    atomic_store(&forwarder.after_down, 0);
    atomic_store(&forwarder.after_up, 9 * MIB);
    atomic_store(&forwarder.breaks, 1);
    expect(MS_ENET, ms_store_put(store, BUCKET, "gone2",
                                 &(struct ms_object_source){.path = world.large}, NULL, &err));
    struct ms_object_info info;
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "gone2", &info, &err));
    forwarder_stop(&forwarder); /* nobody listens any more */
    expect(MS_ENET, ms_store_ping(store, &err));
    expect(MS_ENET, ms_store_head(store, BUCKET, "gone", &info, &err));
    expect(MS_ENET, put_text(store, "gone2", "x"));
    ms_store_close(store);
}

static void gives_up_on_a_silent_server(void **state) {
    struct forwarder forwarder;
    struct ms_store *store = open_behind(&forwarder, 1, 1);
    (void)state;
    atomic_store(&forwarder.silent, true);
    struct ms_object_info info;
    expect(MS_ENET, ms_store_head(store, BUCKET, "first", &info, &err));
    atomic_store(&forwarder.silent, false);
    /* A second is short for a server on a busy machine, too. */
    const double until_s = ms_monotonic_s() + 60;
    while (ms_store_head(store, BUCKET, "first", &info, NULL) != 0)
        assert_true(ms_monotonic_s() < until_s);
    ms_store_close(store);
    forwarder_stop(&forwarder);
}

#define MANY 107 /* more than a page of the list */

static void sweeps_uploads_that_were_never_finished(void **state) {
    static const char odd[] = "a%20%26%3Cb%3E%22%27%2B%25%C3%A4/b";
    char path[200], reply[20000];
    int count = 1;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/%s/%s-%d", world.bucket, odd, i);
        assert_int_equal(send_raw("POST", path, "uploads=", NULL, "", reply), 200);
    }
    expect(0, ms_store_sweep(world.store, BUCKET, 86400, &count, &err));
    assert_int_equal(count, 0);
    expect(0, ms_store_sweep(world.store, "no-such-bucket", 0, &count, &err));
    assert_int_equal(count, 0);
    expect(0, ms_store_sweep(world.store, BUCKET, 0, &count, &err));
    assert_true(count >= MANY);
    assert_int_equal(uploads_left(), 0);
    struct ms_store_options options = world.options;
    options.secret_key = "not-the-secret-of-this-key";
    struct ms_store *store = open_store(&options);
    expect(MS_EDENIED, ms_store_sweep(store, BUCKET, 0, &count, &err));
    ms_store_close(store);
}

const struct CMUnitTest fault_tests_s3[] = {
    cmocka_unit_test(is_denied_with_wrong_credentials),
    cmocka_unit_test(finds_buckets_in_host_names),
    cmocka_unit_test(presigns_urls_that_curl_can_get),
    cmocka_unit_test(goes_on_where_a_connection_broke),
    cmocka_unit_test(believes_an_upload_whose_last_answer_got_lost),
    cmocka_unit_test(gives_up_when_the_server_is_gone),
    cmocka_unit_test(gives_up_on_a_silent_server),
    cmocka_unit_test(sweeps_uploads_that_were_never_finished),
};
const size_t fault_tests_s3_count = sizeof fault_tests_s3 / sizeof *fault_tests_s3;

/* ---- folder ---- */

static void follows_no_links(void **state) {
    char path[200];
    const int left = uploads_left();
    (void)state;
    snprintf(path, sizeof path, "%s/store/%s/link", world.folder, BUCKET);
    assert_int_equal(symlink(world.large, path), 0);
    struct ms_object_info info;
    assert_int_not_equal(ms_store_head(world.store, BUCKET, "link", &info, NULL), 0);
    struct heap heap = {0};
    assert_int_not_equal(
        ms_store_get(world.store, BUCKET, "link", 0, -1, write_heap, &heap, &info, NULL), 0);
    assert_null(heap.bytes);
    expect(0, put_text(world.store, "link", "replaces the link, not what it leads to"));
    assert_int_equal(lstat(path, &(struct stat){0}), 0);
    expect(0, ms_store_head(world.store, BUCKET, "link", &info, &err));

    char target[200];
    snprintf(target, sizeof target, "%s/outside", world.folder);
    assert_int_equal(mkdir(target, 0700), 0);
    snprintf(path, sizeof path, "%s/store/linked", world.folder);
    assert_int_equal(symlink(target, path), 0);
    assert_int_not_equal(ms_store_put(world.store, "linked", "a",
                                      &(struct ms_object_source){.bytes = "a", .size = 1}, NULL,
                                      NULL),
                         0);
    assert_int_equal(count_entries(target), 0);
    unlink(path);
    rmdir(target);
    assert_int_equal(uploads_left(), left);
}

static void takes_no_folders_for_objects(void **state) {
    const int left = uploads_left();
    (void)state;
    expect(0, put_text(world.store, "folder/object", "a"));
    struct ms_object_info info;
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "folder", &info, &err));
    expect(MS_ENOTFOUND, ms_store_head(world.store, BUCKET, "folder/object/a", &info, &err));
    expect(0, ms_store_remove(world.store, BUCKET, "folder", &err));
    expect(MS_EIO, put_text(world.store, "folder", "a"));
    expect(MS_EIO, put_text(world.store, "folder/object/a", "a"));
    expect(0, ms_store_head(world.store, BUCKET, "folder/object", &info, &err));
    assert_int_equal(uploads_left(), left);
}

static void sweeps_what_crashes_left(void **state) {
    const struct timespec old[2] = {{.tv_sec = time(NULL) - 100000},
                                    {.tv_sec = time(NULL) - 100000}};
    char path[200];
    (void)state;
    snprintf(path, sizeof path, "%s/store/.tmp/left", world.folder);
    char fresh[200];
    snprintf(fresh, sizeof fresh, "%s/store/.tmp/fresh", world.folder);
    write_file(path, 10, 0);
    write_file(fresh, 10, 0);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    int count = 0;
    expect(0, ms_store_sweep(world.store, BUCKET, 86400, &count, &err));
    assert_int_equal(count, 1);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(access(fresh, F_OK), 0);
    unlink(fresh);
}

static void keeps_plain_files_and_their_type(void **state) {
    char type[40] = "", *bytes;
    size_t size;
    (void)state;
    expect(0, ms_store_put(world.store, BUCKET, "plain",
                           &(struct ms_object_source){
                               .bytes = "plain", .size = 5, .content_type = "audio/mpeg"},
                           NULL, &err));
    char path[200];
    snprintf(path, sizeof path, "%s/store/%s/plain", world.folder, BUCKET);
    bytes = read_file(path, &size);
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "plain", 5);
    free(bytes);
    if (getxattr(path, "user.mime_type", type, sizeof type - 1) >= 0)
        assert_string_equal(type, "audio/mpeg");
    char *url = NULL;
    expect(MS_EUNSUPPORTED, ms_store_presign(world.store, BUCKET, "plain", NULL, 60, &url, &err));
}

static void refuses_bad_urls(void **state) {
    static const char *const urls[] = {"",       "/tmp",      "file:",        "file://host/a",
                                       "ftp://", "s3:bucket", "s3://UPPER",   "s3://a/b",
                                       "s3://",  "https://x", "file:\x2f\x2f"};
    struct ms_store *store;
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        expect(MS_EUSAGE, ms_store_open(&(struct ms_store_options){.url = urls[i]}, &store, &err));
        assert_null(store);
    }
    for (int i = 0; i < 6; i++) {
        static const char *const endpoints[] = {"127.0.0.1:1",   "ftp://a",      "http://",
                                                "http://u:p@h/", "http://a?b=c", "http://a b"};
        struct ms_error text;
        assert_int_equal(ms_store_open(&(struct ms_store_options){.url = "s3://",
                                                                  .endpoint = endpoints[i],
                                                                  .access_key = "A",
                                                                  .secret_key = "u:p"},
                                       &store, &text),
                         MS_EUSAGE);
        assert_null(strstr(text.text, "u:p"));
    }
}

const struct CMUnitTest fault_tests_file[] = {
    cmocka_unit_test(follows_no_links),         cmocka_unit_test(takes_no_folders_for_objects),
    cmocka_unit_test(sweeps_what_crashes_left), cmocka_unit_test(keeps_plain_files_and_their_type),
    cmocka_unit_test(refuses_bad_urls),
};
const size_t fault_tests_file_count = sizeof fault_tests_file / sizeof *fault_tests_file;
