/* The API from song to stems. The test is the worker: it reserves jobs, puts stems into the store
 * and finishes them. */
#include "api_site.h"

/* ---- /apiv1 ---- */

/* As some encoders write it: lines, whose ends JSON escapes, and slashes escaped. */
static char *with_escapes(const char *base64) {
    char *text = malloc(3 * strlen(base64) + 1), *to = text;
    assert_non_null(text);
    for (size_t i = 0; base64[i] != '\0'; i++) {
        to += i % 20 == 19 ? sprintf(to, i % 40 == 19 ? "\\n" : "\\r\\n") : 0;
        to += sprintf(to, base64[i] == '/' ? "\\/" : "%c", base64[i]);
    }
    return text;
}

static void separate(const char *song, size_t size, const char *more, char id[MS_JOB_ID_HEX]) {
    char *text = ms_base64_encode(song, size);
    assert_non_null(text);
    char *json = ms_strdupf("{\"mp3\": \"%s\"%s}", text, more);
    assert_non_null(json);
    struct answer answer = post("/apiv1/separate", "application/json", json, strlen(json));
    expect("separate", &answer, 200);
    assert_string_equal(member(&answer, "reason"), "Song enqueued for separation");
    (void)snprintf(id, MS_JOB_ID_HEX, "%s", member(&answer, "hash"));
    assert_int_equal(ms_json_count(answer.json), 2);
    char digest[MS_SHA224_HEX];
    assert_int_equal(ms_sha224_of(song, size, digest, NULL), 0);
    if (more[0] != ',' || strstr(more, "model") == NULL)
        assert_string_equal(id, digest);
    answer_free(&answer);
    free(json);
    char *escaped = with_escapes(text);
    json = ms_strdupf("{\"mp3\": \"%s\"%s}", escaped, more);
    assert_non_null(json);
    answer = post("/apiv1/separate", "application/json", json, strlen(json));
    expect("with escapes", &answer, 200);
    assert_string_equal(member(&answer, "hash"), id);
    answer_free(&answer);
    free(escaped);
    free(json);
    free(text);
}

static void v1_leads_from_a_song_to_its_tracks(void **state) {
    static const char *const names[][2] = {{"bass", "bass"},     {"bass.mp3", "bass"},
                                           {"base", "bass"},     {"base.mp3", "bass"},
                                           {"vocals", "vocals"}, {"drums.mp3", "drums"}};
    char song[64], other[64], id[MS_JOB_ID_HEX], second[MS_JOB_ID_HEX], text[256];
    const size_t size = new_song(song), other_size = new_song(other);
    (void)state;
    separate(song, size,
             ", \"callback\": {\"url\": \"http://localhost:5000\", \"data\": {\"a\": "
             "12345678901234567890}}",
             id);
    separate(other, other_size, ", \"model\": null, \"callback\": null, \"stray\": 1", second);
    separate(song, size, "", id); /* the same is the same */
    assert_true(is_stored(MS_BUCKET_SONGS, id));
    assert_int_equal(object_count(), 2);

    (void)snprintf(text, sizeof text, "{\"queue\":[\"%s\",\"%s\"]}", id, second);
    struct answer answer =
        call_at(peer.port, "GET", "/apiv1/queue", "Content-Type: application/json\r\n", "null", 4);
    expect("the queue", &answer, 200);
    assert_string_equal(answer.body, text);
    assert_string_equal(header(&answer, "Content-Type"), "application/json");
    answer_free(&answer);
    answer = call("GET", "/apiv1/queue/");
    assert_string_equal(answer.body, text);
    answer_free(&answer);
    expect_problem("too early", track("GET", "track", id, "bass"), 409, NULL);

    work(id, four);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        answer = track("GET", "track", id, names[i][0]);
        expect_stem(names[i][0], &answer, names[i][1]);
        assert_string_equal(header(&answer, "Content-Type"), "audio/mpeg");
        assert_non_null(strstr(header(&answer, "Content-Disposition"), "attachment"));
        answer_free(&answer);
    }
    expect_problem("no such track", track("GET", "track", id, "guitar"), 404, NULL);
    expect_problem("no such suffix", track("GET", "track", id, "bass.wav"), 404, NULL);

    struct ms_job job;
    assert_int_equal(ms_queue_get(queue, id, &job, NULL), 0);
    assert_int_equal(job.callbacks[0].version, 1);
    assert_string_equal(job.callbacks[0].url, "http://localhost:5000");
    assert_string_equal(job.callbacks[0].data, "{\"a\": 12345678901234567890}");
    ms_job_fini(&job);

    for (int i = 0; four[i] != NULL; i++) {
        char key[MS_JOB_KEY_MAX];
        (void)snprintf(key, sizeof key, "%s-%s.mp3", id, four[i]);
        assert_true(is_stored(MS_BUCKET_STEMS, key));
        answer = track(i % 2 == 0 ? "GET" : "DELETE", "remove", id, four[i]);
        expect("remove", &answer, 200);
        assert_string_equal(member(&answer, "hash"), id);
        assert_string_equal(member(&answer, "track"), four[i]);
        assert_string_equal(member(&answer, "reason"), "Track removed");
        answer_free(&answer);
        assert_false(is_stored(MS_BUCKET_STEMS, key));
        expect_problem("removed", track("GET", "track", id, four[i]), 404, NULL);
        expect_problem("again", track("DELETE", "remove", id, four[i]), 404, NULL);
    }
    assert_false(is_stored(MS_BUCKET_SONGS, id)); /* the last track took the job with it */
    erase(second);
    expect_empty();
}

static void v1_tells_failed_jobs_and_other_models(void **state) {
    static const char *const six[] = {"drums", "bass", "other", "vocals", "guitar", "piano", NULL};
    char song[64], id[MS_JOB_ID_HEX], token[MS_TOKEN_HEX], digest[MS_SHA224_HEX];
    size_t size = new_song(song);
    struct ms_job job;
    (void)state;
    separate(song, size, "", id);
    reserve(&job, token);
    expect_problem("running", track("GET", "track", id, "bass"), 409, NULL);
    (void)snprintf(job.error_code, sizeof job.error_code, "input");
    (void)snprintf(job.error_message, sizeof job.error_message, "no audio in it");
    change(MS_CHANGE_FAIL, &job, token);
    ms_job_fini(&job);
    struct answer answer = track("GET", "track", id, "bass");
    assert_string_equal(member(&answer, "reason"), "no audio in it");
    expect_problem("failed", answer, 410, NULL);
    erase(id);

    size = new_song(song);
    separate(song, size, ", \"model\": \"six\"", id);
    assert_int_equal(ms_sha224_of(song, size, digest, NULL), 0);
    assert_string_not_equal(id, digest);
    work(id, six);
    answer = track("GET", "track", id, "piano.mp3");
    expect_stem("piano", &answer, "piano");
    answer_free(&answer);
    erase(id);
    expect_empty();
}

/* ---- /apiv2 ---- */

static void v2_takes_a_song_in_every_form(void **state) {
    static const char form[] =
        "--x\r\nContent-Disposition: form-data; name=\"stems\"\r\n\r\nvocals,drums\r\n"
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\\\a\\\\my "
        "song.wav\"\r\n"
        "Content-Type: audio/wav\r\n\r\n" WAV "\r\n"
        "--x\r\nContent-Disposition: form-data; name=\"format\"\r\n\r\nflac\r\n"
        "--x\r\nContent-Disposition: form-data; name=\"precision\"\r\n\r\nbf16\r\n"
        "--x\r\nContent-Disposition: form-data; name=\"clip\"\r\n\r\n\r\n--x--\r\n";
    struct ms_job job;
    char id[MS_JOB_ID_HEX], path[128];
    (void)state;
    struct answer answer =
        post("/apiv2/jobs?shifts=2", "multipart/form-data; boundary=x", form, sizeof form - 1);
    expect("a form", &answer, 202);
    (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    assert_string_equal(header(&answer, "Location"), path);
    assert_string_equal(header(&answer, "Content-Type"), "application/json");
    assert_string_equal(member(&answer, "state"), "queued");
    answer_free(&answer);
    assert_int_equal(ms_queue_get(queue, id, &job, NULL), 0);
    assert_int_equal(job.options.stem_count, 2);
    assert_string_equal(job.options.stems[1], "drums");
    assert_string_equal(job.options.format, "flac");
    assert_string_equal(job.options.clip, "rescale");
    assert_string_equal(job.options.model, "tiny");
    assert_int_equal(job.options.shifts, 2);
    assert_int_equal(job.options.precision, MS_PRECISION_BF16);
    assert_string_equal(job.input_name, "my song.wav");
    assert_int_equal(job.input_bytes, sizeof WAV - 1);
    ms_job_fini(&job);
    erase(id);

    answer = post("/apiv2/jobs?model=six&two_stems=piano&format=opus&bitrate=96&seed=7&overlap=0.5"
                  "&clip=clamp&precision=float32&name=a%20b%2Fc+d.mp3&callback_url=https%3A%2F%"
                  "2Fhook.example%2F%3Fa",
                  NULL, WAV, sizeof WAV - 1);
    expect("the song itself", &answer, 202);
    (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
    answer_free(&answer);
    assert_int_equal(ms_queue_get(queue, id, &job, NULL), 0);
    assert_string_equal(job.options.model, "six");
    assert_string_equal(job.options.two_stems, "piano");
    assert_int_equal(job.options.bitrate_kbps, 96);
    assert_int_equal(job.options.seed, 7);
    assert_true(job.options.overlap == 0.5);
    assert_int_equal(job.options.precision, MS_PRECISION_FLOAT32);
    assert_string_equal(job.input_name, "c d.mp3");
    assert_int_equal(job.callbacks[0].version, 2);
    assert_string_equal(job.callbacks[0].url, "https://hook.example/?a");
    ms_job_fini(&job);
    erase(id);
    expect_empty();
}

static void v2_makes_one_job_of_the_same_song(void **state) {
    char song[64];
    const size_t size = new_song(song);
    static const char type[] = "Content-Type: audio/wav\r\n";
    (void)state;
    struct answer answer = call_at(peer.port, "POST", "/apiv2/jobs", type, song, size);
    expect("first", &answer, 202);
    int64_t position = -1;
    assert_true(ms_json_int(ms_json_get(answer.json, "position"), &position));
    assert_int_equal(position, 0);
    char first[MS_JOB_ID_HEX];
    (void)snprintf(first, sizeof first, "%s", member(&answer, "id"));
    answer_free(&answer);
    char digest[MS_SHA224_HEX];
    assert_int_equal(ms_sha224_of(song, size, digest, NULL), 0);
    assert_string_equal(first, digest); /* /apiv1 would call it the same */
    answer = call_at(peer.port, "POST", "/apiv2/jobs", type, song, size);
    expect("again", &answer, 202);
    assert_string_equal(member(&answer, "id"), first);
    answer_free(&answer);
    assert_int_equal(object_count(), 1);
    work(first, four);
    /* It is there: not queued, and the song is not stored, again. */
    assert_int_equal(ms_store_remove(store, MS_BUCKET_SONGS, first, NULL), 0);
    answer = call_at(peer.port, "POST", "/apiv2/jobs", type, song, size);
    expect("done", &answer, 202);
    assert_string_equal(member(&answer, "state"), "succeeded");
    answer_free(&answer);
    assert_false(is_stored(MS_BUCKET_SONGS, first));
    /* With a track less it is made anew. */
    answer = track("DELETE", "remove", first, "bass");
    answer_free(&answer);
    answer = call_at(peer.port, "POST", "/apiv2/jobs", type, song, size);
    assert_string_equal(member(&answer, "state"), "queued");
    answer_free(&answer);
    assert_true(is_stored(MS_BUCKET_SONGS, first));
    work(first, four);
    erase(first);
    expect_empty();
}

static void v2_bounds_the_queue_and_pages_its_list(void **state) {
    char ids[5][MS_JOB_ID_HEX], song[64];
    const size_t size = new_song(song);
    (void)state;
    for (int i = 0; i < 5; i++)
        submit("", ids[i]);
    /* the count may be a second old */
    struct answer answer = post("/apiv2/jobs", "audio/wav", song, size);
    for (int tries = 0; answer.status == 202 && tries < 1000; tries++) {
        erase(member(&answer, "id"));
        answer_free(&answer);
        (void)usleep(10000);
        answer = post("/apiv2/jobs", "audio/wav", song, size);
    }
    expect_problem("one too many", answer, 503, "queue_full");

    /* and pages of the list */
    char path[256] = "/apiv2/jobs?state=queued&limit=2";
    char last[64] = "~";
    int found[5] = {0}, seen = 0, pages = 0;
    do {
        answer = call("GET", path);
        expect(path, &answer, 200);
        const struct ms_json *jobs = ms_json_get(answer.json, "jobs");
        for (const struct ms_json *job = ms_json_first(jobs); job != NULL;
             job = ms_json_next(job)) {
            /* newest first, and by id where two came in the same millisecond */
            const char *created = ms_json_string(ms_json_get(job, "created_at"));
            assert_true(strcmp(created, last) <= 0);
            (void)snprintf(last, sizeof last, "%s", created);
            int which = 0;
            while (which < 5 && strcmp(ids[which], ms_json_string(ms_json_get(job, "id"))) != 0)
                which++;
            assert_true(which < 5);
            found[which]++;
            seen++;
        }
        pages++;
        (void)snprintf(path, sizeof path, "/apiv2/jobs?state=queued&limit=2&cursor=%s",
                       member(&answer, "next_cursor"));
        const bool more = member(&answer, "next_cursor")[0] != '\0';
        answer_free(&answer);
        if (!more)
            break;
    } while (pages < 10);
    assert_int_equal(seen, 5);
    assert_int_equal(pages, 3);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(found[i], 1);
        erase(ids[i]);
    }
    expect_empty();
}

static void v2_serves_stems(void **state) {
    static char bytes[STEM_BYTES];
    char id[MS_JOB_ID_HEX];
    (void)state;
    submit("", id);
    expect_problem("too early", get_stem(id, "GET", ""), 409, "not_finished");
    work(id, four);
    stem_bytes("drums", bytes, sizeof bytes);

    struct answer answer = get_stem(id, "GET", "");
    expect_stem("whole", &answer, "drums");
    assert_string_equal(header(&answer, "Accept-Ranges"), "bytes");
    assert_string_equal(header(&answer, "Content-Type"), "audio/mpeg");
    assert_string_equal(header(&answer, "Content-Length"), "600000");
    char etag[100];
    (void)snprintf(etag, sizeof etag, "%s", header(&answer, "ETag"));
    assert_int_equal(strlen(etag), 66);
    answer_free(&answer);

    static const struct {
        const char *range;
        int first, last;
    } ranges[] = {{"0-0", 0, 0},
                  {"10-19", 10, 19},
                  {"-7", STEM_BYTES - 7, STEM_BYTES - 1},
                  {"200000-599999", 200000, STEM_BYTES - 1},
                  {"5-99999999", 5, STEM_BYTES - 1}};
    char headers[256];
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        (void)snprintf(headers, sizeof headers, "Range: bytes=%s\r\n", ranges[i].range);
        answer = get_stem(id, "GET", headers);
        expect(headers, &answer, 206);
        (void)snprintf(headers, sizeof headers, "bytes %d-%d/%d", ranges[i].first, ranges[i].last,
                       STEM_BYTES);
        assert_string_equal(header(&answer, "Content-Range"), headers);
        assert_int_equal(answer.body_bytes, ranges[i].last - ranges[i].first + 1);
        assert_memory_equal(answer.body, bytes + ranges[i].first, answer.body_bytes);
        answer_free(&answer);
    }
    answer = get_stem(id, "GET", "Range: bytes=600000-\r\n");
    assert_string_equal(header(&answer, "Content-Range"), "bytes */600000");
    expect_problem("beyond", answer, 416, "range_not_satisfiable");
    answer = get_stem(id, "GET", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n");
    expect_stem("If-Range", &answer, "drums");
    answer_free(&answer);
    (void)snprintf(headers, sizeof headers, "If-None-Match: \"x\", %s\r\n", etag);
    answer = get_stem(id, "GET", headers);
    expect("If-None-Match", &answer, 304);
    assert_int_equal(answer.body_bytes, 0);
    assert_string_equal(header(&answer, "ETag"), etag);
    answer_free(&answer);
    answer = get_stem(id, "HEAD", "");
    expect("HEAD", &answer, 200);
    assert_int_equal(answer.body_bytes, 0);
    assert_string_equal(header(&answer, "Content-Length"), "600000");
    assert_string_equal(header(&answer, "ETag"), etag);
    answer_free(&answer);

    static const char *const wrong[] = {"guitar.mp3", "drums.wma", "drums", ".mp3",
                                        "drums.mp3.mp3"};
    char path[256];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        (void)snprintf(path, sizeof path, "/apiv2/jobs/%s/stems/%s", id, wrong[i]);
        expect_problem(wrong[i], call("GET", path), 404, "unknown_stem");
    }
    erase(id);
    expect_empty();
}

static void v2_cancels_jobs(void **state) {
    char song[64];
    const size_t size = new_song(song);
    (void)state;
    struct answer answer = post("/apiv2/jobs", "audio/wav", song, size);
    expect("submit", &answer, 202);
    char id[MS_JOB_ID_HEX];
    (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
    answer_free(&answer);
    char token[MS_TOKEN_HEX];
    struct ms_job job;
    reserve(&job, token);
    char path[128];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    answer = call("DELETE", path);
    expect("cancel", &answer, 202);
    answer_free(&answer);
    /* What will vanish is not acknowledged. */
    expect_problem("again, too early", post("/apiv2/jobs", "audio/wav", song, size), 503,
                   "canceling");
    assert_int_equal(ms_queue_change(queue, MS_CHANGE_RENEW, &job, token, 30000, NULL),
                     MS_ECANCELED);
    change(MS_CHANGE_CANCEL, &job, token);
    ms_job_fini(&job);
    expect_problem("gone", call("GET", path), 404, "unknown_job");
    answer = post("/apiv2/jobs", "audio/wav", song, size);
    expect("again", &answer, 202);
    answer_free(&answer);
    assert_true(is_stored(MS_BUCKET_SONGS, id));
    erase(id);
    expect_empty();
}

/* ---- callbacks ---- */

/* Either door takes as many callbacks of a song as a job keeps; one more is the client's fault. */
static void bounds_the_callbacks_of_a_job(void **state) {
    char song[64], id[MS_JOB_ID_HEX] = "";
    const size_t size = new_song(song);
    char *text = ms_base64_encode(song, size);
    (void)state;
    assert_non_null(text);
    for (int i = 0; i < 2 * MS_JOB_MAX_CALLBACKS; i++) {
        char *json = ms_strdupf("{\"mp3\": \"%s\", \"callback\": {\"url\": \"http://h/\", "
                                "\"data\": %d}}",
                                text, i);
        char path[64];
        (void)snprintf(path, sizeof path, "/apiv2/jobs?callback_url=http://h/%d", i);
        assert_non_null(json);
        struct answer answer = i % 2 == 0
                                   ? post("/apiv1/separate", "application/json", json, strlen(json))
                                   : post(path, "audio/wav", song, size);
        free(json);
        if (i >= MS_JOB_MAX_CALLBACKS) {
            expect_problem("one too many", answer, 422, i % 2 == 0 ? NULL : "too_many_callbacks");
            continue;
        }
        expect("a callback", &answer, i % 2 == 0 ? 200 : 202);
        if (i % 2 != 0)
            (void)snprintf(id, sizeof id, "%s", member(&answer, "id"));
        answer_free(&answer);
    }
    separate(song, size, "", id); /* without one it is taken still */
    free(text);
    erase(id);
    expect_empty();
}

/* ---- events ---- */

static int listen_to(const char *id, const char *last) {
    char text[512];
    const int fd = dial(peer.port);
    (void)snprintf(
        text, sizeof text,
        "GET /apiv2/jobs/%s/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s%s\r\n",
        id, last[0] != '\0' ? "Last-Event-ID: " : "", last, last[0] != '\0' ? "\r\n" : "");
    assert_true(say_text(fd, text));
    return fd;
}

/* The id of the last event in it. */
static void last_id(const char *text, char id[64]) {
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, "id: ")) != NULL; next++)
        at = next;
    assert_non_null(at);
    (void)snprintf(id, 64, "%.*s", (int)strcspn(at + 4, "\n"), at + 4);
}

static void events_follow_a_job_to_its_end(void **state) {
    char id[MS_JOB_ID_HEX];
    (void)state;
    submit("", id);
    int fd = listen_to(id, "");
    char *text = hear_until(fd, "\"state\":\"queued\"");
    assert_int_equal(status_of(text), 200);
    assert_non_null(strstr(text, "Content-Type: text/event-stream"));
    assert_non_null(strstr(text, "event: state\n"));
    free(text);
    char token[MS_TOKEN_HEX];
    struct ms_job job;
    reserve(&job, token);
    free(hear_until(fd, "\"state\":\"running\""));
    job.progress = 0.25;
    job.eta_seconds = 12;
    change(MS_CHANGE_RENEW, &job, token);
    text = hear_until(fd, "\"progress\":0.25");
    assert_non_null(strstr(text, "event: progress\n"));
    char seen[64];
    last_id(text, seen);
    free(text);
    close(fd);

    /* Whoever has seen that is told what comes next, and not that again. */
    fd = listen_to(id, seen);
    job.progress = 0.5;
    change(MS_CHANGE_RENEW, &job, token);
    text = hear_until(fd, "\"progress\":0.5");
    assert_null(strstr(text, "0.25"));
    free(text);
    change(MS_CHANGE_FINISH, &job, token);
    ms_job_fini(&job);
    bool reset = true;
    text = hear_all(fd, NULL, &reset);
    close(fd);
    assert_false(reset);
    assert_non_null(strstr(text, "\"state\":\"succeeded\""));
    last_id(text, seen);
    free(text);

    fd = listen_to(id, ""); /* late: the end, at once */
    text = hear_all(fd, NULL, NULL);
    close(fd);
    assert_int_equal(count_of(text, "event: "), 1);
    assert_non_null(strstr(text, "\"state\":\"succeeded\""));
    free(text);
    fd = listen_to(id, seen); /* seen to the end: do not come back */
    text = hear_all(fd, NULL, NULL);
    close(fd);
    assert_int_equal(status_of(text), 204);
    free(text);
    char path[128];
    (void)snprintf(path, sizeof path, "/apiv2/jobs/%s", id);
    erase(id);

    submit("", id);
    fd = listen_to(id, "");
    free(hear_until(fd, "\"state\":\"queued\""));
    erase(id);
    text = hear_all(fd, NULL, NULL);
    close(fd);
    assert_non_null(strstr(text, "\"state\":\"canceled\""));
    free(text);
    expect_empty();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_leads_from_a_song_to_its_tracks),
        cmocka_unit_test(v1_tells_failed_jobs_and_other_models),
        cmocka_unit_test(v2_takes_a_song_in_every_form),
        cmocka_unit_test(v2_makes_one_job_of_the_same_song),
        cmocka_unit_test(v2_bounds_the_queue_and_pages_its_list),
        cmocka_unit_test(v2_serves_stems),
        cmocka_unit_test(v2_cancels_jobs),
        cmocka_unit_test(bounds_the_callbacks_of_a_job),
        cmocka_unit_test(events_follow_a_job_to_its_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
