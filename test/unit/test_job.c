/* Jobs: ids, rules of options, labels, and JSON: round trip, hostile texts, what clients see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"
#include "msaas/json.h"

#define ABC "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"
#define ALICE                                                                                      \
    "88a7f7f616969af79826b8f20ae82d3ed1edd84938b7e5d5da6bd344" /* the same, sent by alice */

static struct ms_job_options standard(void) {
    struct ms_job_options options;
    ms_job_options_default("", &options);
    return options;
}

static void id_of(const struct ms_job_options *options, char id[MS_JOB_ID_HEX]) {
    struct ms_job job;
    assert_int_equal(ms_job_init(&job, "abc", 3, options, "htdemucs", NULL), 0);
    assert_true(ms_job_id_is_valid(job.id));
    memcpy(id, job.id, MS_JOB_ID_HEX);
    ms_job_fini(&job);
}

static void ids(void **state) {
    (void)state;
    struct ms_job_options options = standard();
    char id[MS_JOB_ID_HEX], other[MS_JOB_ID_HEX];
    id_of(&options, id);
    assert_string_equal(id, ABC);
    (void)snprintf(options.model, sizeof options.model, "htdemucs");
    options.seed = 7; /* without shifts it changes nothing */
    id_of(&options, id);
    assert_string_equal(id, ABC);
    options.shifts = 1;
    id_of(&options, id);
    assert_string_not_equal(id, ABC);
    options.seed = 8;
    id_of(&options, other);
    assert_string_not_equal(id, other);
    options = standard();
    options.stem_count = 2;
    (void)snprintf(options.stems[0], 32, "vocals");
    (void)snprintf(options.stems[1], 32, "bass");
    id_of(&options, id);
    (void)snprintf(options.stems[0], 32, "bass");
    (void)snprintf(options.stems[1], 32, "vocals");
    id_of(&options, other);
    assert_string_equal(id, other);
    /* Ids are kept by clients: this one must never change. */
    options = standard();
    options.shifts = 2;
    id_of(&options, id);
    assert_string_equal(id, "7298420b3715b089a4c913331fa485973bacea69ba1eb7bc3b1efc96");
    /* What is made of the stems afterwards is no part of the id. */
    options = standard();
    strcpy(options.format, "m4a");
    options.bitrate_kbps = 96;
    strcpy(options.clip, "clamp");
    id_of(&options, id);
    assert_string_equal(id, ABC);
    options.shifts = 2;
    id_of(&options, id);
    assert_string_equal(id, "7298420b3715b089a4c913331fa485973bacea69ba1eb7bc3b1efc96");
    /* Precisions came later: who asks for none has the ids from before. */
    options = standard();
    options.precision = MS_PRECISION_BF16;
    id_of(&options, id);
    assert_string_equal(id, "ba123d961009cae63034045ca4926211884b61889b361582a7d6604f");
    options.precision = MS_PRECISION_FLOAT32;
    id_of(&options, id);
    assert_string_equal(id, "b12ebe3e46372e1e3fcb885928e176240dd79af823f56f03940b8b17");
    assert_false(ms_job_id_is_valid(""));
    assert_false(ms_job_id_is_valid(ABC "0"));
    assert_false(ms_job_id_is_valid("23097D223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"));
    assert_false(ms_job_id_is_valid("../../23405d8228642a477bda255b32aadbce4bda0b3f7e36c9da77"));
}

#define REFUSED(what)                                                                              \
    do {                                                                                           \
        struct ms_job_options options = standard();                                                \
        struct ms_error err = {0};                                                                 \
        what;                                                                                      \
        assert_int_equal(ms_job_options_check(&options, &err), MS_EUSAGE);                         \
        assert_true(err.text[0] != '\0');                                                          \
    } while (0)

static void rules_of_options(void **state) {
    (void)state;
    struct ms_job_options good = standard();
    assert_int_equal(ms_job_options_check(&good, NULL), 0);
    REFUSED(strcpy(options.model, "../x"));
    REFUSED(strcpy(options.model, ".x"));
    REFUSED(strcpy(options.format, "ogg"));
    REFUSED(options.format[0] = '\0');
    REFUSED(options.bitrate_kbps = 31);
    REFUSED(options.bitrate_kbps = 321);
    REFUSED(options.bitrate_kbps = -1);
    REFUSED(strcpy(options.format, "wav"); options.bitrate_kbps = 128);
    REFUSED(options.shifts = 21);
    REFUSED(options.shifts = -1);
    REFUSED(options.seed = -1);
    REFUSED(options.overlap = 1);
    REFUSED(options.overlap = -0.1);
    REFUSED(options.overlap = NAN);
    REFUSED(strcpy(options.clip, "loud"));
    REFUSED(options.stem_count = 1);
    REFUSED(options.stem_count = 18);
    REFUSED(options.stem_count = 1; strcpy(options.stems[0], "a/b"));
    REFUSED(options.stem_count = 2; strcpy(options.stems[0], "a"); strcpy(options.stems[1], "a"));
    REFUSED(options.stem_count = 1; strcpy(options.stems[0], "a"); strcpy(options.two_stems, "a"));
    REFUSED(strcpy(options.two_stems, "a b"));
}

static void labels_of_stems(void **state) {
    (void)state;
    static const char model[][MS_STEM_NAME_BYTES] = {"drums", "bass", "other", "vocals"};
    char labels[MS_JOB_MAX_STEMS][MS_JOB_LABEL_MAX];
    struct ms_job_options options = standard();
    struct ms_error err = {0};
    int count = 0;
    assert_int_equal(ms_job_labels(&options, model, 4, labels, &count, NULL), 0);
    assert_int_equal(count, 4);
    assert_string_equal(labels[3], "vocals");
    strcpy(options.two_stems, "vocals");
    assert_int_equal(ms_job_labels(&options, model, 4, labels, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(labels[1], "no_vocals");
    strcpy(options.two_stems, "piano");
    assert_int_equal(ms_job_labels(&options, model, 4, labels, &count, &err), MS_EUSAGE);
    assert_non_null(strstr(err.text, "drums, bass, other, vocals"));
    options = standard();
    options.stem_count = 2;
    strcpy(options.stems[0], "vocals");
    strcpy(options.stems[1], "bass");
    assert_int_equal(ms_job_labels(&options, model, 4, labels, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(labels[0], "bass"); /* the model's order */
}

static void make_done(struct ms_job *job) {
    struct ms_job_options options = standard();
    assert_int_equal(ms_job_init(job, "abc", 3, &options, "htdemucs", NULL), 0);
    strcpy(job->input_name, "a \"song\".mp3");
    job->state = MS_JOB_SUCCEEDED;
    job->created_ms = INT64_C(1764000000123);
    job->started_ms = job->created_ms + 1000;
    job->callback_count = 1;
    job->callbacks[0].version = 1;
    job->callbacks[0].url = strdup("http://secret.example/");
    job->callbacks[0].data = strdup("{\"a\":[1]}");
    job->stem_count = 1;
    strcpy(job->stems[0].name, "vocals");
    job->stems[0].bytes = 12;
    memset(job->stems[0].sha256, 'a', 64);
    strcpy(job->receipt.made_by, "msaas 0.1.0");
    job->receipt.precision = MS_PRECISION_BF16;
    job->receipt.seconds = 2.5;
    job->receipt.damaged = true;
}

static void make_kept(struct ms_job *job) {
    make_done(job);
    job->stems[0].kept_bytes = 34;
    memset(job->stems[0].kept_sha256, 'b', 64);
    job->stems[0].kept_gain = 0.75;
}

static void objects_of_a_stem(void **state) {
    (void)state;
    struct ms_job job;
    char key[MS_JOB_KEY_MAX];
    make_kept(&job);
    ms_job_stem_key(&job, "vocals", key);
    assert_string_equal(key, ABC "-vocals.mp3");
    ms_job_kept_key(&job, "vocals", key);
    assert_string_equal(key, "kept/" ABC "-vocals.flac");
    ms_job_peaks_key(&job, key);
    assert_string_equal(key, "kept/" ABC "-peaks.json");
    ms_job_preview_key(&job, "no_vocals", 11, key);
    assert_string_equal(key, "preview/" ABC "/no_vocals-11.flac");
    ms_job_fini(&job);
}

/* Jobs of earlier releases say nothing of what is kept, and those releases read ours. */
static void before_stems_were_kept(void **state) {
    static const char kept[] = ",\"kept\":{\"bytes\":34,\"sha256\":\"";
    struct ms_job job, read;
    char *text = NULL;
    (void)state;
    make_kept(&job);
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    ms_job_fini(&job);
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    assert_int_equal(read.stems[0].kept_bytes, 34);
    assert_int_equal(strspn(read.stems[0].kept_sha256, "b"), 64);
    assert_true(read.stems[0].kept_gain == 0.75);
    ms_job_fini(&read);
    char *at = strstr(text, kept);
    assert_non_null(at);
    const char *rest = strchr(at, '}') + 1;
    memmove(at, rest, strlen(rest) + 1);
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    assert_int_equal(read.stem_count, 1);
    assert_int_equal(read.stems[0].bytes, 12);
    assert_string_equal(read.stems[0].kept_sha256, "");
    free(text);
    ms_job_fini(&read);
}

/* Earlier releases do not write it, and clients see it always. */
static void before_previews(void **state) {
    static const char later[] = ",\"preview_seconds\":15";
    struct ms_job job, read;
    char *text = NULL;
    (void)state;
    make_done(&job);
    job.preview_seconds = 15;
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    ms_job_fini(&job);
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    assert_true(read.preview_seconds == 15);
    ms_job_fini(&read);
    char *at = strstr(text, later);
    assert_non_null(at);
    memmove(at, at + strlen(later), strlen(at + strlen(later)) + 1);
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    free(text);
    assert_int_equal(ms_job_to_public_json(&read, false, &text, NULL), 0);
    assert_non_null(strstr(text, "\"preview_seconds\":0,"));
    free(text);
    ms_job_fini(&read);
}

static void round_trip(void **state) {
    (void)state;
    struct ms_job job, copy, again;
    char *first = NULL, *second = NULL;
    make_kept(&job);
    assert_int_equal(ms_job_copy(&job, &copy, NULL), 0);
    assert_ptr_not_equal(job.callbacks[0].url, copy.callbacks[0].url);
    ms_job_fini(&job);
    assert_int_equal(ms_job_to_json(&copy, &first, NULL), 0);
    assert_int_equal(ms_job_from_json(first, strlen(first), &again, NULL), 0);
    assert_int_equal(ms_job_to_json(&again, &second, NULL), 0);
    assert_string_equal(first, second);
    assert_string_equal(again.callbacks[0].data, "{\"a\":[1]}");
    assert_int_equal(again.position, -1);
    assert_int_equal(again.created_ms, INT64_C(1764000000123));
    /* Cut anywhere it is refused, and nothing leaks. */
    for (size_t size = 0; size < strlen(first); size++)
        assert_int_equal(ms_job_from_json(first, size, &job, NULL), MS_ECORRUPT);
    ms_job_fini(&copy);
    ms_job_fini(&again);
    free(first);
    free(second);
}

static void hostile_texts(void **state) {
    (void)state;
    static const char *const swaps[][2] = {
        {"\"id\":\"2", "\"id\":\"/"},
        {"\"succeeded\"", "\"done\""},
        {"\"bytes\":3", "\"bytes\":-3"},
        {"\"bytes\":3", "\"bytes\":1e300"},
        {"\"shifts\":0", "\"shifts\":\"0\""},
        {"\"mp3\"", "\"../\""},
        {"\"vocals\"", "\"../x\""},
        {"\"bytes\":12", "\"bytes\":1.5"},
        {"aaaa\"", "AAAA\""},
        {"\"version\":1", "\"version\":3"},
        {"\"version\":1", "\"version\":0"},
        {"\"stems\":[", "\"stamms\":["},
        {"\"attempts\":0", "\"attempts\":99999999999"},
        {"\"progress\":0", "\"progress\":2"},
        {"\"cancel_asked\":false", "\"cancel_asked\":0"},
        {"\"error\":null", "\"error\":[]"},
        {"\"precision\":\"auto\"", "\"precision\":\"float8\""},
        {"\"precision\":\"auto\"", "\"precision\":32"},
        {"\"precision\":\"bf16\"", "\"precision\":\"\""},
        {"bbbb\"", "bbb\""},
        {"\"gain\":0.75", "\"gain\":0"},
        {"\"gain\":0.75", "\"gain\":1.5"},
        {"\"bytes\":34,", ""},
        {"\"kept\":{", "\"kept\":null,\"x\":{"},
    };
    struct ms_job job, read;
    char *text = NULL;
    make_kept(&job);
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    for (size_t i = 0; i < sizeof swaps / sizeof *swaps; i++) {
        const char *at = strstr(text, swaps[i][0]);
        if (at == NULL)
            fail_msg("%s is not in %s", swaps[i][0], text);
        char bad[4096];
        (void)snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, swaps[i][1],
                       at + strlen(swaps[i][0]));
        struct ms_error err = {0};
        if (ms_job_from_json(bad, strlen(bad), &read, &err) != MS_ECORRUPT)
            fail_msg("%s was taken", swaps[i][1]);
        assert_null(read.callbacks[0].url);
    }
    assert_int_equal(ms_job_from_json("null", 4, &read, NULL), MS_ECORRUPT);
    assert_int_equal(ms_job_from_json("[]", 2, &read, NULL), MS_ECORRUPT);
    free(text);
    ms_job_fini(&job);
}

/* Neither options nor receipts of earlier releases name a precision. */
static void before_precisions(void **state) {
    static const char *const later[] = {",\"precision\":\"auto\"", ",\"precision\":\"bf16\""};
    struct ms_job job, read;
    char *text = NULL;
    (void)state;
    make_done(&job);
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    ms_job_fini(&job);
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        char *at = strstr(text, later[i]);
        assert_non_null(at);
        memmove(at, at + strlen(later[i]), strlen(at + strlen(later[i])) + 1);
    }
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    free(text);
    assert_int_equal(read.options.precision, MS_PRECISION_AUTO);
    assert_int_equal(ms_job_to_public_json(&read, false, &text, NULL), 0);
    assert_non_null(strstr(text, "\"precision\":null"));
    free(text);
    ms_job_fini(&read);
}

static void what_clients_see(void **state) {
    (void)state;
    struct ms_job job;
    char *text = NULL;
    make_kept(&job);
    assert_int_equal(ms_job_to_public_json(&job, false, &text, NULL), 0);
    assert_null(strstr(text, "secret"));
    assert_non_null(strstr(text, "\"position\":null"));
    assert_non_null(strstr(text, "\"created_at\":\"2025-11-24T16:00:00.123Z\""));
    assert_non_null(strstr(text, "\"finished_at\":null"));
    assert_non_null(strstr(text, "\"url\":\"/apiv2/jobs/" ABC "/stems/vocals.mp3\""));
    assert_non_null(strstr(text, "\"error\":null"));
    assert_non_null(strstr(text, "\"receipt\":{\"made_by\":\"msaas 0.1.0\""));
    assert_non_null(strstr(text, "\"damaged\":true"));
    assert_null(strstr(text, "kept"));
    assert_non_null(strstr(text, "\"clip\":\"rescale\",\"precision\":\"auto\"}"));
    assert_non_null(strstr(text, "\"model_sha256\":null,\"precision\":\"bf16\""));
    free(text);
    job.state = MS_JOB_QUEUED;
    job.position = 4;
    strcpy(job.error_code, "network");
    strcpy(job.error_message, "gone");
    assert_int_equal(ms_job_to_public_json(&job, false, &text, NULL), 0);
    assert_non_null(strstr(text, "\"position\":4"));
    assert_non_null(strstr(text, "\"error\":{\"code\":\"network\",\"message\":\"gone\"}"));
    free(text);
    ms_job_fini(&job);
}

static void a_job_costs_minutes_of_separation(void **state) {
    struct ms_job job = {0};
    struct ms_error err;
    (void)state;
    ms_job_options_default("m", &job.options);
    assert_true(ms_job_cost(&job) == 0); /* the song's length is not known */
    job.audio_seconds = 7200;
    assert_true(ms_job_cost(&job) == 160);
    job.options.shifts = 1;
    assert_true(ms_job_cost(&job) == 160);
    job.options.shifts = 2;
    job.networks = 4;
    assert_true(ms_job_cost(&job) == 1280);
    job.options.overlap = 0;
    assert_true(ms_job_cost(&job) == 960);
    assert_int_equal(ms_job_check_cost(&job, 960, &err), 0);
    assert_int_equal(ms_job_check_cost(&job, 0, &err), 0);
    assert_int_equal(ms_job_check_cost(&job, 600, &err), MS_ETOOLARGE);
    assert_non_null(strstr(err.text, "960.0"));
    assert_non_null(strstr(err.text, "600"));
    assert_non_null(strstr(err.text, "--max-cost"));
}

/* Who sends the same song has another job; nobody learns from its id who else has sent it. */
static void owners(void **state) {
    struct ms_job_options options = standard();
    struct ms_job jobs[3];
    struct ms_error err;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(ms_job_init(&jobs[i], "abc", 3, &options, "htdemucs", NULL), 0);
    assert_string_equal(jobs[0].owner, "");
    assert_int_equal(ms_job_set_owner(&jobs[1], "alice", NULL), 0);
    assert_int_equal(ms_job_set_owner(&jobs[2], "bob", NULL), 0);
    assert_string_equal(jobs[2].owner, "bob");
    /* Ids are kept by clients: this one must never change. */
    assert_string_equal(jobs[1].id, ALICE);
    static const char *const names[] = {"", "alice", "bob", "carol"};
    for (int i = 0; i < 3; i++) {
        assert_true(ms_job_id_is_valid(jobs[i].id));
        assert_string_not_equal(jobs[i].id, jobs[(i + 1) % 3].id);
        for (int k = 0; k < 4; k++) {
            char mark[MS_OWNER_MARK_BYTES];
            assert_int_equal(ms_owner_mark(names[k], mark, NULL), 0);
            assert_int_equal(ms_job_id_has_mark(jobs[i].id, mark), i == k);
        }
    }
    /* A mark alone proves nothing. */
    char forged[MS_JOB_ID_HEX], mark[MS_OWNER_MARK_BYTES];
    memcpy(forged, jobs[1].id, sizeof forged);
    forged[0] = forged[0] == 'a' ? 'b' : 'a';
    assert_int_equal(ms_owner_mark("alice", mark, NULL), 0);
    assert_false(ms_job_id_has_mark(forged, mark));
    assert_true(ms_job_id_has_mark(forged, ""));
    assert_int_equal(ms_job_set_owner(&jobs[0], "", &err), MS_EUSAGE);
    assert_int_equal(ms_job_set_owner(&jobs[0], "Eve", &err), MS_EUSAGE);
    assert_string_equal(jobs[0].id, ABC);
    for (int i = 0; i < 3; i++)
        ms_job_fini(&jobs[i]);
}

/* Of a job without one, the record is what earlier releases write; only admins see whose it is. */
static void the_owner_in_json(void **state) {
    static const char *const bad[] = {"\"\"", "\"Eve\"", "7", "null"};
    struct ms_job job, read;
    char *text = NULL, spoilt[4096];
    (void)state;
    make_done(&job);
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    assert_null(strstr(text, "owner"));
    assert_null(strstr(text, "charged"));
    free(text);
    strcpy(job.owner, "alice");
    job.charged_ms = 77;
    assert_int_equal(ms_job_to_json(&job, &text, NULL), 0);
    assert_int_equal(ms_job_from_json(text, strlen(text), &read, NULL), 0);
    assert_string_equal(read.owner, "alice");
    assert_int_equal(read.charged_ms, 77);
    ms_job_fini(&read);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *at = strstr(text, "\"alice\"");
        assert_non_null(at);
        (void)snprintf(spoilt, sizeof spoilt, "%.*s%s%s", (int)(at - text), text, bad[i], at + 7);
        assert_int_equal(ms_job_from_json(spoilt, strlen(spoilt), &read, NULL), MS_ECORRUPT);
    }
    free(text);
    assert_int_equal(ms_job_to_public_json(&job, false, &text, NULL), 0);
    assert_null(strstr(text, "alice"));
    assert_null(strstr(text, "owner"));
    assert_null(strstr(text, "charged"));
    free(text);
    assert_int_equal(ms_job_to_public_json(&job, true, &text, NULL), 0);
    assert_non_null(strstr(text, "\"owner\":\"alice\""));
    free(text);
    ms_job_fini(&job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(owners),
        cmocka_unit_test(the_owner_in_json),
        cmocka_unit_test(a_job_costs_minutes_of_separation),
        cmocka_unit_test(ids),
        cmocka_unit_test(rules_of_options),
        cmocka_unit_test(labels_of_stems),
        cmocka_unit_test(before_previews),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(hostile_texts),
        cmocka_unit_test(before_precisions),
        cmocka_unit_test(before_stems_were_kept),
        cmocka_unit_test(objects_of_a_stem),
        cmocka_unit_test(what_clients_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
