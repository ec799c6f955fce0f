/* GET /apiv2/jobs/ID/events: Server-Sent Events (WHATWG HTML, 9.2). The job is looked up in the
 * queue again and again, so any replica can serve the events of any job and continue a stream that
 * broke off. The id of an event says what the client has seen: a client that comes back with it
 * gets what has changed since, not the history. On the threads of the pool, for a moment at each
 * look. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "expiry.h"
#include "handlers.h"
#include "jobs.h"
#include "link.h"
#include "msaas/sys.h"
#include "owner.h"
#include "reply.h"

#define LOOK_MS 500
#define SOON_MS 50       /* doubled at each look: a worker that is idle begins a new job at once */
#define LOOKS_PER_S 1000 /* of all listeners together; where they are more, each looks less often */
#define LOST_MS 2000     /* between looks while the queue cannot be reached */
#define HEARTBEAT_S 15
#define EVENT_ID_MAX 64

struct listener {
    struct ms_api *api;
    const struct ms_account *caller; /* NULL, or the next one */
    struct ms_account account;
    char id[MS_JOB_ID_HEX];
    char seen[EVENT_ID_MAX]; /* id of the last event that the client got */
    /* the progress that was sent last; -1: none */
    int state;
    double sent_s;
    int soon_ms;
    bool over;
};

int ms_api_look_ms(const struct ms_api *api) {
    const int fair_ms = (int)((int64_t)atomic_load(&api->listeners) * 1000 / LOOKS_PER_S);
    return fair_ms > LOOK_MS ? fair_ms : LOOK_MS;
}

static int next_look_ms(struct listener *l) {
    const int ms = ms_api_look_ms(l->api), soon_ms = l->soon_ms;
    if (ms > LOOK_MS || soon_ms >= LOOK_MS)
        return ms;
    l->soon_ms *= 2;
    return soon_ms;
}

static void close_events(void *context) {
    struct listener *l = context;
    (void)atomic_fetch_sub(&l->api->listeners, 1);
    free(l);
}

/* Two jobs have different ids if the change is worth an event. */
static void event_id(const struct ms_job *job, char out[EVENT_ID_MAX]) {
    const int length = snprintf(
        out, EVENT_ID_MAX, "%d-%s-%lld", job->attempts, ms_job_state_name(job->state),
        job->state == MS_JOB_QUEUED ? (long long)job->position : (long long)(job->progress * 1000));
    if (job->preview_seconds > 0)
        (void)snprintf(out + length, EVENT_ID_MAX - (size_t)length, "-%.0f", job->preview_seconds);
}

/* A change of state is sent with the whole job, progress with the fields that change. */
static char *event_data(const struct listener *l, const struct ms_job *job, bool whole) {
    char *json = NULL;
    if (whole)
        return ms_job_to_public_json(job, ms_api_shows_owner(l->caller), &json, NULL) == 0 ? json
                                                                                           : NULL;
    struct ms_json_writer *w = ms_json_writer_new();
    if (w == NULL)
        return NULL;
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "id", job->id);
    ms_json_put_string(w, "state", ms_job_state_name(job->state));
    ms_json_put_double(w, "progress", job->progress);
    if (job->eta_seconds >= 0)
        ms_json_put_double(w, "eta_seconds", job->eta_seconds);
    if (job->state == MS_JOB_QUEUED && job->position >= 0)
        ms_json_put_int(w, "position", job->position);
    if (job->preview_seconds > 0)
        ms_json_put_double(w, "preview_seconds", job->preview_seconds);
    ms_json_end_object(w);
    const char *text = ms_json_writer_text(w, NULL);
    json = text != NULL ? strdup(text) : NULL;
    ms_json_writer_free(w);
    return json;
}

static int put_event(struct listener *l, const struct ms_job *job, char *buffer, size_t capacity,
                     size_t *size, struct ms_error *err) {
    char id[EVENT_ID_MAX];
    event_id(job, id);
    l->over = ms_job_state_is_final(job->state);
    if (strcmp(id, l->seen) == 0)
        return 0;
    const bool whole = (int)job->state != l->state;
    char *data = event_data(l, job, whole);
    const int length = data == NULL ? -1
                                    : snprintf(buffer, capacity, "id: %s\nevent: %s\ndata: %s\n\n",
                                               id, whole ? "state" : "progress", data);
    free(data);
    if (length < 0 || (size_t)length >= capacity)
        return ms_error_set(err, MS_ENOMEM, "the event of job %s is too large", l->id);
    memcpy(l->seen, id, sizeof id);
    l->state = (int)job->state;
    *size = (size_t)length;
    return 0;
}

static int put_text(struct listener *l, const char *text, char *buffer, size_t capacity,
                    size_t *size, struct ms_error *err) {
    const size_t length = strlen(text);
    if (length > capacity)
        return ms_error_set(err, MS_ENOMEM, "the event of job %s is too large", l->id);
    memcpy(buffer, text, length);
    *size = length;
    return 0;
}

static int read_events(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                       struct ms_error *err) {
    struct listener *l = context;
    struct ms_job job = {0};
    int rc = 0;
    *size = 0;
    *again_ms = 0;
    if (l->over)
        return 0;
    *again_ms = next_look_ms(l);
    struct ms_problem problem;
    if (ms_api_find(l->api, l->caller, l->id, &job, &problem)) {
        ms_api_look_now_and_then(l->api, &job);
        rc = put_event(l, &job, buffer, capacity, size, err);
    } else if (problem.status == 404) { /* erased */
        l->over = true;
        rc = put_text(
            l, "id: erased\nevent: state\ndata: {\"state\":\"canceled\",\"erased\":true}\n\n",
            buffer, capacity, size, err);
    } else {
        *again_ms = LOST_MS;
    }
    ms_job_fini(&job);
    if (rc == 0 && *size == 0 && !l->over && ms_monotonic_s() - l->sent_s >= HEARTBEAT_S)
        rc = put_text(l, ": still here\n\n", buffer, capacity, size, err);
    if (*size > 0)
        l->sent_s = ms_monotonic_s();
    if (l->over || *size > 0)
        *again_ms = 0;
    return rc;
}

void ms_api_v2_events(const struct ms_http_call *call) {
    struct ms_api *api = call->context;
    struct ms_problem problem;
    struct ms_job job = {0};
    const char *last = ms_http_header(call, "Last-Event-ID");
    const struct ms_account *caller = ms_api_caller(call->exchange);
    if (!ms_api_find_asked(call, &job, &problem)) {
        ms_api_reply_problem(call, &problem);
        return;
    }
    char id[EVENT_ID_MAX];
    event_id(&job, id);
    const bool is_final = ms_job_state_is_final(job.state);
    ms_job_fini(&job);
    if (is_final && last != NULL && strcmp(last, id) == 0) {
        ms_http_reply(call, 204, NULL, NULL,
                      0); /* the client has seen the end: it must not come back */
        return;
    }
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return; /* 500 */
    l->api = api;
    if (caller != NULL) {
        l->account = *caller;
        l->caller = &l->account;
    }
    (void)atomic_fetch_add(&api->listeners, 1);
    (void)snprintf(l->id, sizeof l->id, "%s", call->params[0]);
    (void)snprintf(l->seen, sizeof l->seen, "%s", last != NULL ? last : "");
    l->state = -1;
    l->soon_ms = SOON_MS;
    l->sent_s = ms_monotonic_s();
    ms_http_add_header(call, "Cache-Control", "no-store");
    ms_http_add_header(call, "X-Accel-Buffering", "no"); /* proxies must not buffer it */
    const struct ms_http_stream stream = {
        .length = -1, .read = read_events, .close = close_events, .context = l};
    ms_http_reply_stream(call, 200, "text/event-stream", &stream);
}
