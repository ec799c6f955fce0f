/* The API: its table of routes, and how it begins and ends. */
#include "msaas/api.h"

#include <stdlib.h>
#include <string.h>

#include "access_log.h"
#include "caller.h"
#include "handlers.h"
#include "link.h"
#include "msaas/upload.h"
#include "reply.h"

#define MAX_SONG_BYTES (INT64_C(256) << 20)
#define FORM_BYTES (INT64_C(1) << 20) /* of a body, besides its song */
#define MAX_WAITING_JOBS 100000
#define STORE_ATTEMPTS 2 /* a client waits: an early error is better for it, */
#define STORE_STALL_S 5  /* also because there are few threads */

/* ---- routes ---- */

/* Which scopes may ask; any of them is enough. A route without one does not compile. */
#define OPEN MS_API_OPEN
#define SUBMIT MS_SCOPE_SUBMIT
#define READ MS_SCOPE_READ
#define ADMIN MS_SCOPE_ADMIN
#define ANY (SUBMIT | READ | ADMIN)

struct route {
    const char *method, *pattern;
    void (*handle)(const struct ms_http_call *call);
    enum ms_http_where where;
    int max_body_bytes; /* 1 and 2 stand for the limit of a song in /apiv1 and /apiv2 */
    unsigned scopes;
};

static const struct route table[] = {
    {"GET", "/", ms_api_page, MS_HTTP_LOOP, 0, OPEN},
    {"GET", "/assets/{}", ms_api_asset, MS_HTTP_LOOP, 0, OPEN},
    {"GET", "/openapi.json", ms_api_openapi, MS_HTTP_LOOP, 0, OPEN},
    {"GET", "/healthz", ms_api_healthz, MS_HTTP_LOOP, 0, OPEN},
    {"GET", "/readyz", ms_api_readyz, MS_HTTP_POOL, 0, OPEN},
    {"GET", "/metrics", ms_api_metrics, MS_HTTP_POOL, 0, ADMIN},
    {"POST", "/apiv1/separate", ms_api_v1_separate, MS_HTTP_SLOW, 1, SUBMIT},
    {"GET", "/apiv1/queue", ms_api_v1_queue, MS_HTTP_POOL, 0, READ},
    {"GET", "/apiv1/queue/", ms_api_v1_queue, MS_HTTP_POOL, 0, READ},
    {"GET", "/apiv1/track/{}/{}", ms_api_v1_track, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv1/remove/{}/{}", ms_api_v1_remove, MS_HTTP_SLOW, 0, SUBMIT},
    {"DELETE", "/apiv1/remove/{}/{}", ms_api_v1_remove, MS_HTTP_SLOW, 0, SUBMIT},
    {"POST", "/apiv2/jobs", ms_api_v2_submit, MS_HTTP_SLOW, 2, SUBMIT},
    {"GET", "/apiv2/jobs", ms_api_v2_list, MS_HTTP_POOL, 0, READ},
    {"GET", "/apiv2/jobs/{}", ms_api_v2_get, MS_HTTP_POOL, 0, READ},
    {"DELETE", "/apiv2/jobs/{}", ms_api_v2_erase, MS_HTTP_SLOW, 0, SUBMIT},
    {"GET", "/apiv2/jobs/{}/events", ms_api_v2_events, MS_HTTP_POOL, 0, READ},
    {"GET", "/apiv2/jobs/{}/stems/{}", ms_api_v2_stem, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv2/jobs/{}/stems.zip", ms_api_v2_archive, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv2/jobs/{}/stem.mp4", ms_api_v2_stem_file, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv2/jobs/{}/mix", ms_api_v2_mix, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv2/jobs/{}/preview/{}", ms_api_v2_preview, MS_HTTP_SLOW, 0, READ},
    {"GET", "/apiv2/jobs/{}/peaks", ms_api_v2_peaks, MS_HTTP_SLOW, 0, READ},
    {"OPTIONS", "/apiv2/uploads", ms_api_uploads_options, MS_HTTP_LOOP, 0, OPEN},
    {"POST", "/apiv2/uploads", ms_api_uploads_create, MS_HTTP_SLOW, MS_HTTP_IN_PIECES, SUBMIT},
    {"OPTIONS", "/apiv2/uploads/{}", ms_api_uploads_options, MS_HTTP_LOOP, 0, OPEN},
    {"GET", "/apiv2/uploads/{}", ms_api_upload_get, MS_HTTP_SLOW, 0, SUBMIT},
    {"PATCH", "/apiv2/uploads/{}", ms_api_upload_patch, MS_HTTP_SLOW, MS_HTTP_IN_PIECES, SUBMIT},
    {"DELETE", "/apiv2/uploads/{}", ms_api_upload_delete, MS_HTTP_SLOW, 0, SUBMIT},
    {"POST", "/apiv2/uploads/{}", ms_api_upload_post, MS_HTTP_SLOW, MS_HTTP_IN_PIECES, SUBMIT},
    {"GET", "/apiv2/models", ms_api_v2_models, MS_HTTP_LOOP, 0, ANY},
    {"POST", "/apiv2/session", ms_api_v2_session_begin, MS_HTTP_LOOP, 0, ANY},
    {"DELETE", "/apiv2/session", ms_api_v2_session_end, MS_HTTP_LOOP, 0, OPEN},
};
_Static_assert(sizeof table / sizeof *table < MS_API_ROUTES, "MS_API_ROUTES is too small");

static bool is_song(int max_body_bytes) {
    return max_body_bytes == 1 || max_body_bytes == 2;
}

static void fill_routes(struct ms_api *api) {
    const int64_t song = api->options.max_song_bytes;
    const int64_t bodies[] = {0, song + song / 3 + FORM_BYTES /* base64 */, song + FORM_BYTES};
    int count = 0;
    for (const struct route *from = table; from < table + sizeof table / sizeof *table; from++) {
        if (api->options.v1 == MS_API_V1_OFF && ms_api_is_v1(from->pattern))
            continue;
        api->routes[count] = (struct ms_http_route){
            from->method, from->pattern, from->handle, from->where,
            is_song(from->max_body_bytes) ? bodies[from->max_body_bytes] : from->max_body_bytes};
        api->scopes[count++] = from->scopes;
    }
}

/* ---- life ---- */

int ms_api_new(const struct ms_api_options *options, struct ms_api **out, struct ms_error *err) {
    *out = NULL;
    if (options->model_count < 1)
        return ms_error_set(err, MS_EUSAGE, "no model is on offer: name at least one");
    struct ms_api *api = calloc(1, sizeof *api);
    if (api == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the API");
    api->options = *options;
    if (api->options.max_song_bytes <= 0)
        api->options.max_song_bytes = MAX_SONG_BYTES;
    if (api->options.upload_keep_s <= 0)
        api->options.upload_keep_s = MS_UPLOAD_KEEP_S;
    if (api->options.max_waiting_jobs <= 0)
        api->options.max_waiting_jobs = MAX_WAITING_JOBS;
    if (api->options.store.attempts <= 0)
        api->options.store.attempts = STORE_ATTEMPTS;
    if (api->options.store.stall_timeout_s <= 0)
        api->options.store.stall_timeout_s = STORE_STALL_S;
    (void)pthread_mutex_init(&api->lock, NULL);
    ms_waiting_init(&api->lists);
    (void)ms_problem_set(&api->unready, 503, "starting", "queue and store are being checked");
    fill_routes(api);
    int rc = ms_api_open_link(api, &api->idle, err); /* wrong URLs are reported now */
    if (rc == 0)
        rc = ms_renders_new(&api->options.store, api->options.max_renders, &api->renders, err);
    if (rc != 0) {
        ms_api_free(api);
        return rc;
    }
    *out = api;
    return 0;
}

void ms_api_free(struct ms_api *api) {
    if (api == NULL)
        return;
    ms_api_close_links(api);
    ms_waiting_fini(&api->lists);
    ms_renders_free(api->renders);
    (void)pthread_mutex_destroy(&api->lock);
    free(api);
}

void ms_api_serve(struct ms_api *api, struct ms_http_server_options *options) {
    options->routes = api->routes;
    options->context = api;
    options->admit = api->options.accounts != NULL ? ms_api_admit : NULL;
    options->error_body = ms_api_error_body;
    options->done = ms_api_done;
    options->cors_asked =
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, "
        "Last-Event-ID, Prefer, Range, Tus-Resumable, Upload-Checksum, Upload-Concat, "
        "Upload-Defer-Length, Upload-Length, Upload-Metadata, Upload-Offset, "
        "X-HTTP-Method-Override, X-Request-Id";
    options->cors_exposed =
        "Accept-Ranges, Content-Disposition, Content-Range, ETag, Location, Preference-Applied, "
        "RateLimit, RateLimit-Policy, Retry-After, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
        "Tus-Version, Upload-Defer-Length, Upload-Expires, Upload-Length, Upload-Metadata, "
        "Upload-Offset, WWW-Authenticate, X-Request-Id";
}

void ms_api_set_draining(struct ms_api *api) {
    atomic_store(&api->draining, true);
}
