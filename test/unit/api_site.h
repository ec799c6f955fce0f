/* A site for tests of the API: server and API on sqlite: and file: in a folder of its own, over
 * real sockets; the test is the worker. */
#ifndef MSAAS_TEST_API_SITE_H
#define MSAAS_TEST_API_SITE_H

#include "api_exchange.h"
#include "http_peer.h"

#include <ftw.h>
#include <strings.h>
#include <sys/stat.h>

#include "msaas/api.h"
#include "msaas/base64.h"
#include "msaas/digest.h"
#include "msaas/json.h"
#include "msaas/log.h"
#include "msaas/queue.h"
#include "msaas/store.h"
#include "msaas/sys.h"

#define ID0 "00000000000000000000000000000000000000000000000000000000" /* well-formed, unknown */
#define WAV "RIFF\x24\x08\x00\x00WAVEfmt "
#define MAX_SONG 100000

static char folder[] = "/tmp/msaas-api-XXXXXX";
static char queue_url[128], store_url[128], objects[100];
static struct ms_api *api, *lost; /* lost: its queue cannot be reached */
static struct peer peer, lost_peer;
static struct ms_queue *queue;
static struct ms_store *store;
static const struct ms_api_model models[] = {
    {"tiny", "MIT", 4, {"drums", "bass", "other", "vocals"}, 1},
    {"six", "", 6, {"drums", "bass", "other", "vocals", "guitar", "piano"}, 1},
};

/* ---- the site ---- */

static inline struct ms_api *new_api(const char *url, const struct ms_store_options *in) {
    struct ms_error err = {0};
    struct ms_api *made = NULL;
    const struct ms_api_options options = {.queue_url = url,
                                           .store = *in,
                                           .models = models,
                                           .model_count = 2,
                                           .max_song_bytes = MAX_SONG,
                                           .max_waiting_jobs = 5};
    if (ms_api_new(&options, &made, &err) != 0)
        fail_msg("%s", err.text);
    return made;
}

static inline int set_up(void **state) {
    struct ms_http_server_options options = {.host = "127.0.0.1", .threads = 4};
    (void)state;
    assert_non_null(mkdtemp(folder));
    ms_log_init("rest", MS_LOG_ERROR, false);
    (void)snprintf(queue_url, sizeof queue_url, "sqlite:%s/queue.db", folder);
    (void)snprintf(objects, sizeof objects, "%s/objects", folder);
    (void)snprintf(store_url, sizeof store_url, "file:%s", objects);
    const struct ms_store_options store_options = {.url = store_url, .create_buckets = true};
    api = new_api(queue_url, &store_options);
    ms_api_serve(api, &options);
    peer_start(&peer, &options);
    lost = new_api("redis://127.0.0.1:1/0", &store_options);
    ms_api_serve(lost, &options);
    peer_start(&lost_peer, &options);
    struct ms_error err = {0};
    if (ms_queue_open(queue_url, &queue, &err) != 0 ||
        ms_store_open(&store_options, &store, &err) != 0)
        fail_msg("%s", err.text);
    return 0;
}

static inline int remove_one(const char *path, const struct stat *status, int type,
                             struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int tear_down(void **state) {
    (void)state;
    ms_queue_close(queue);
    ms_store_close(store);
    peer_stop(&peer, 1000);
    peer_stop(&lost_peer, 1000);
    ms_api_free(api);
    ms_api_free(lost);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int files;
static inline int count_one(const char *path, const struct stat *status, int type,
                            struct FTW *ftw) {
    (void)path;
    (void)status;
    (void)ftw;
    files += type == FTW_F;
    return 0;
}

static inline int object_count(void) {
    files = 0;
    (void)nftw(objects, count_one, 16, FTW_PHYS);
    return files;
}

static inline bool is_stored(const char *bucket, const char *key) {
    struct ms_object_info info;
    return ms_store_head(store, bucket, key, &info, NULL) == 0;
}

/* ---- the client ---- */

struct answer {
    char *text; /* all of it */
    const char *body;
    size_t body_bytes;
    int status;
    struct ms_json *json; /* NULL: the body is none */
};

/* Of the answer's head; "" where there is none. */
static inline const char *header(const struct answer *answer, const char *name) {
    static char value[512];
    value[0] = '\0';
    for (const char *line = strstr(answer->text, "\r\n"); line != NULL && line + 2 < answer->body;
         line = strstr(line + 2, "\r\n")) {
        const size_t length = strlen(name);
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(line + 2 + length + 2, "\r"),
                           line + 2 + length + 2);
            break;
        }
    }
    return value;
}

static inline struct answer call_at(int port, const char *method, const char *path,
                                    const char *headers, const void *body, size_t size) {
    char *head = ms_strdupf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s", method,
                            path, headers);
    char length[64] = "\r\n";
    const int fd = dial(port);
    assert_non_null(head);
    if (size > 0 || strcmp(method, "POST") == 0)
        (void)snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n", size);
    if (say_text(fd, head) && say_text(fd, length) && size > 0)
        (void)say(fd, body, size);
    struct answer answer = {0};
    size_t total;
    answer.text = hear_all(fd, &total, NULL);
    close(fd);
    free(head);
    answer.status = status_of(answer.text);
    answer.body = body_of(answer.text);
    answer.body_bytes = total - (size_t)(answer.body - answer.text);
    if (ms_json_parse(answer.body, answer.body_bytes, &answer.json, NULL) != 0)
        answer.json = NULL;
    const char *type = header(&answer, "Content-Type");
    const bool is_text = *type == '\0' || strncmp(type, "text/", 5) == 0 || strstr(type, "json");
    keep_exchange(method, path, headers, answer.text, type, is_text ? answer.body : NULL);
    return answer;
}

static inline struct answer call(const char *method, const char *path) {
    return call_at(peer.port, method, path, "", NULL, 0);
}

static inline struct answer post(const char *path, const char *type, const void *body,
                                 size_t size) {
    char header[256] = "";
    if (type != NULL)
        (void)snprintf(header, sizeof header, "Content-Type: %s\r\n", type);
    return call_at(peer.port, "POST", path, header, body, size);
}

static inline void answer_free(struct answer *answer) {
    free(answer->text);
    ms_json_free(answer->json);
}

static inline const char *member(const struct answer *answer, const char *name) {
    const char *text = ms_json_string(ms_json_get(answer->json, name));
    return text != NULL ? text : "";
}

static inline void expect(const char *what, const struct answer *answer, int status) {
    if (answer->status != status)
        fail_msg("%s: %d expected, but:\n%.2000s", what, status, answer->text);
}

/* The right form of an error. code: NULL outside of /apiv2. */
static inline void expect_problem(const char *what, struct answer answer, int status,
                                  const char *code) {
    expect(what, &answer, status);
    if (code == NULL) {
        if (strcmp(header(&answer, "Content-Type"), "application/json") != 0 ||
            member(&answer, "reason")[0] == '\0')
            fail_msg("%s: no reason in JSON:\n%.2000s", what, answer.text);
    } else {
        int64_t said = 0;
        if (strcmp(header(&answer, "Content-Type"), "application/problem+json") != 0 ||
            strcmp(member(&answer, "code"), code) != 0 || member(&answer, "detail")[0] == '\0' ||
            member(&answer, "title")[0] == '\0' || member(&answer, "type")[0] == '\0' ||
            !ms_json_int(ms_json_get(answer.json, "status"), &said) || said != status)
            fail_msg("%s: no problem of code %s:\n%.2000s", what, code, answer.text);
    }
    if ((status == 503 || status == 409) && atoi(header(&answer, "Retry-After")) <= 0)
        fail_msg("%s: no Retry-After:\n%.2000s", what, answer.text);
    answer_free(&answer);
}

/* ---- songs and the worker ---- */

/* A different one each time. */
static inline size_t new_song(char song[64]) {
    static int count;
    memcpy(song, WAV, sizeof WAV - 1);
    return sizeof WAV - 1 + (size_t)snprintf(song + sizeof WAV - 1, 32, "song %d", count++);
}

/* POST /apiv2/jobs of a new song; its id. */
static inline void submit(const char *query, char id[MS_JOB_ID_HEX]) {
    char song[64], path[512];
    const size_t size = new_song(song);
    (void)snprintf(path, sizeof path, "/apiv2/jobs%s", query);
    struct answer answer = post(path, "audio/wav", song, size);
    expect(path, &answer, 202);
    (void)snprintf(id, MS_JOB_ID_HEX, "%s", member(&answer, "id"));
    assert_true(ms_job_id_is_valid(id));
    answer_free(&answer);
}

static inline void reserve(struct ms_job *job, char token[MS_TOKEN_HEX]) {
    struct ms_error err = {0};
    int rc = ms_queue_reserve(queue, "six", 30000, 0, job, token, &err);
    if (rc == MS_ENOTFOUND)
        rc = ms_queue_reserve(queue, "tiny", 30000, 10000, job, token, &err);
    if (rc != 0)
        fail_msg("%s", err.text);
}

static inline void change(enum ms_queue_change what, const struct ms_job *job, const char *token) {
    struct ms_error err = {0};
    if (ms_queue_change(queue, what, job, token, 30000, &err) != 0)
        fail_msg("%s", err.text);
}

static inline void stem_bytes(const char *name, char *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(name[0] + (int)(i % 251));
}

#define STEM_BYTES 600000 /* several of the store's pieces */

/* Reserves the job that waits, and finishes it with these stems (ended by NULL). */
static inline void work(const char *id, const char *const *stems) {
    static char bytes[STEM_BYTES];
    struct ms_job job;
    char token[MS_TOKEN_HEX];
    reserve(&job, token);
    assert_string_equal(job.id, id);
    struct ms_error err = {0};
    char key[MS_JOB_KEY_MAX];
    for (; *stems != NULL; stems++) {
        struct ms_job_stem *stem = &job.stems[job.stem_count++];
        const struct ms_object_source source = {
            .bytes = bytes, .size = STEM_BYTES, .content_type = "audio/mpeg"};
        stem_bytes(*stems, bytes, sizeof bytes);
        (void)snprintf(stem->name, sizeof stem->name, "%s", *stems);
        stem->bytes = STEM_BYTES;
        assert_int_equal(ms_sha256_of(bytes, sizeof bytes, stem->sha256, NULL), 0);
        ms_job_stem_key(&job, *stems, key);
        if (ms_store_put(store, MS_BUCKET_STEMS, key, &source, NULL, &err) != 0)
            fail_msg("%s", err.text);
    }
    change(MS_CHANGE_FINISH, &job, token);
    ms_job_fini(&job);
}

/* A call of /apiv1 about a track. */
static inline struct answer track(const char *method, const char *call_name, const char *id,
                                  const char *name) {
    char path[256];
    (void)snprintf(path, sizeof path, "/apiv1/%s/%s/%s", call_name, id, name);
    return call(method, path);
}

/* The stem that work() has stored. */
static inline void expect_stem(const char *what, const struct answer *answer, const char *stem) {
    static char bytes[STEM_BYTES];
    expect(what, answer, 200);
    stem_bytes(stem, bytes, sizeof bytes);
    assert_int_equal(answer->body_bytes, sizeof bytes);
    assert_memory_equal(answer->body, bytes, sizeof bytes);
}

/* A call of /apiv2 about the stem drums. */
static inline struct answer get_stem(const char *id, const char *method, const char *headers) {
    char path[256];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s/stems/drums.mp3", id);
    return call_at(peer.port, method, path, headers, NULL, 0);
}

static const char *const four[] = {"drums", "bass", "other", "vocals", NULL};

static inline void erase(const char *id) {
    char path[128];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%.56s", id);
    struct answer answer = call("DELETE", path);
    expect(path, &answer, 204);
    answer_free(&answer);
}

static inline void expect_empty(void) {
    struct answer answer = call("GET", "/apiv1/queue");
    expect("the queue", &answer, 200);
    assert_string_equal(answer.body, "{\"queue\":[]}");
    answer_free(&answer);
    answer = call("GET", "/apiv2/jobs");
    assert_int_equal(ms_json_count(ms_json_get(answer.json, "jobs")), 0);
    answer_free(&answer);
    assert_int_equal(object_count(), 0);
}

#endif
