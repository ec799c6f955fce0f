/* All stems of a job as a zip archive, one after the other, while the client reads. On the threads
 * of the slow pool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disposition.h"
#include "downloads.h"
#include "expiry.h"
#include "handlers.h"
#include "job_reply.h"
#include "jobs.h"
#include "msaas/http_range.h"
#include "msaas/zip_writer.h"
#include "query.h"
#include "reply.h"
#include "stems.h"

struct file {
    char name[MS_FILE_NAME_BYTES + MS_API_PART_NAME_BYTES + 10];
    struct ms_render_plan plan;
};

struct archive {
    struct ms_api *api;
    struct ms_zip_writer *zip;
    struct file *files;
    int count, next;
    struct ms_render *render; /* of files[next - 1]; NULL: it is complete */
    const char *bytes;        /* the writer's, not given yet */
    size_t left;
    bool finished;
};

static void close_archive(void *context) {
    struct archive *archive = context;
    ms_render_close(archive->render);
    ms_zip_writer_free(archive->zip);
    free(archive->files);
    free(archive);
}

/* ---- while it is read ---- */

static int begin_file(struct archive *archive, struct ms_error *err) {
    const struct file *file = &archive->files[archive->next];
    const void *bytes = NULL;
    int rc = 0;
    if (archive->render == NULL) /* the first is open since the answer began */
        rc = ms_render_open(archive->api->renders, &file->plan, true, &archive->render, err);
    if (rc == 0)
        rc = ms_zip_writer_begin(archive->zip, file->name, ms_render_most_bytes(archive->render),
                                 &bytes, &archive->left, err);
    archive->bytes = bytes;
    archive->next++;
    return rc;
}

static int end_file(struct archive *archive, struct ms_error *err) {
    const void *bytes = NULL;
    ms_render_close(archive->render);
    archive->render = NULL;
    const int rc = ms_zip_writer_end(archive->zip, &bytes, &archive->left, err);
    archive->bytes = bytes;
    return rc;
}

static int finish(struct archive *archive, struct ms_error *err) {
    const void *bytes = NULL;
    const int rc = ms_zip_writer_finish(archive->zip, &bytes, &archive->left, err);
    archive->bytes = bytes;
    archive->finished = true;
    return rc;
}

static int read_archive(void *context, void *buffer, size_t capacity, size_t *size, int *again_ms,
                        struct ms_error *err) {
    struct archive *archive = context;
    int rc = 0;
    *size = 0;
    *again_ms = 0;
    while (rc == 0 && *size == 0 && (archive->left > 0 || !archive->finished)) {
        if (archive->left > 0) {
            *size = archive->left < capacity ? archive->left : capacity;
            memcpy(buffer, archive->bytes, *size);
            archive->bytes += *size;
            archive->left -= *size;
        } else if (archive->next > 0 && archive->render != NULL) {
            rc = ms_render_read(archive->render, buffer, capacity, size, err);
            if (rc == 0 && *size > 0)
                ms_zip_writer_add(archive->zip, buffer, *size);
            else if (rc == 0)
                rc = end_file(archive, err);
        } else if (archive->next < archive->count) {
            rc = begin_file(archive, err);
        } else {
            rc = finish(archive, err);
        }
    }
    return rc;
}

/* ---- before ---- */

/* Of the whole archive; -1: it has files whose length is not known. */
static int64_t length_of(const struct archive *archive, int64_t unix_s) {
    struct ms_zip_writer *zip = NULL;
    const void *bytes;
    size_t size;
    int rc = ms_zip_writer_new(unix_s, &zip, NULL);
    for (int i = 0; rc == 0 && i < archive->count; i++) {
        const struct file *file = &archive->files[i];
        const int64_t length = file->plan.as_stored ? file->plan.parts[0].bytes : -1;
        rc = length < 0 ? MS_EUNSUPPORTED
                        : ms_zip_writer_begin(zip, file->name, length, &bytes, &size, NULL);
        if (rc == 0) {
            ms_zip_writer_skip(zip, length);
            rc = ms_zip_writer_end(zip, &bytes, &size, NULL);
        }
    }
    if (rc == 0)
        rc = ms_zip_writer_finish(zip, &bytes, &size, NULL);
    const int64_t length = rc == 0 ? ms_zip_writer_length(zip) : -1;
    ms_zip_writer_free(zip);
    return length;
}

static bool plan_files(struct archive *archive, const struct ms_job *job,
                       const struct ms_render_options *options, struct ms_problem *problem) {
    char song[MS_FILE_NAME_BYTES];
    struct ms_error err = {0};
    ms_api_song_name(job, song);
    for (int i = 0; i < job->stem_count; i++) {
        struct file *file = &archive->files[archive->count++];
        if (ms_render_plan_stem(job, &job->stems[i], options, &file->plan, &err) != 0)
            return ms_api_refuse_plan(problem, &err);
        char what[MS_API_PART_NAME_BYTES];
        ms_api_part_name(&file->plan, job->stems[i].name, what);
        (void)snprintf(file->name, sizeof file->name, "%s/%s.%s", song, what, file->plan.format);
    }
    return archive->count > 0 ||
           ms_problem_set(problem, 410, "job_expired", "the job has no stems any more");
}

/* A stem that is gone is told of by the status, not in the middle. */
static bool are_stored(struct archive *archive, const struct ms_job *job,
                       struct ms_problem *problem) {
    struct ms_error err = {0};
    struct ms_api_link *link = ms_api_borrow(archive->api, problem);
    bool ok = link != NULL;
    for (int i = 0; ok && i < archive->count; i++) {
        struct ms_object_info info;
        const int rc = ms_store_head(link->store, MS_BUCKET_STEMS,
                                     archive->files[i].plan.parts[0].key, &info, &err);
        ok = rc == 0 || (rc == MS_ENOTFOUND ? ms_api_expire(link, job, problem)
                                            : ms_problem_of_store(problem, &err));
    }
    ms_api_give_back(archive->api, link);
    return ok;
}

static bool no_memory(struct ms_problem *problem) {
    return ms_problem_set(problem, 503, "no_memory", "the server is short of memory");
}

static bool tag_archive(const struct archive *archive, const struct ms_job *job, int64_t unix_s,
                        char etag[MS_API_TAG_BYTES], struct ms_problem *problem) {
    const struct ms_render_plan *plans[MS_JOB_MAX_STEMS];
    char song[MS_FILE_NAME_BYTES], more[MS_FILE_NAME_BYTES + 40];
    for (int i = 0; i < archive->count; i++)
        plans[i] = &archive->files[i].plan;
    ms_api_song_name(job, song);
    (void)snprintf(more, sizeof more, "zip %lld %s", (long long)unix_s, song);
    return ms_api_tag_plans(plans, archive->count, more, etag, problem);
}

static bool reply_archive(const struct ms_http_call *call, const struct ms_job *job,
                          const struct ms_api_wanted *wanted, struct ms_problem *problem) {
    const struct ms_render_options options = ms_api_wanted_options(wanted, job->options.format);
    const int64_t unix_s = job->finished_ms / 1000;
    struct archive *archive = calloc(1, sizeof *archive);
    if (archive == NULL)
        return no_memory(problem);
    archive->api = call->context;
    archive->files = calloc(MS_JOB_MAX_STEMS, sizeof *archive->files);
    bool ok = archive->files != NULL && ms_zip_writer_new(unix_s, &archive->zip, NULL) == 0;
    if (!ok)
        (void)no_memory(problem);
    char etag[MS_API_TAG_BYTES] = "";
    ok = ok && plan_files(archive, job, &options, problem) && are_stored(archive, job, problem) &&
         tag_archive(archive, job, unix_s, etag, problem) &&
         ms_api_tag_matches(call, etag, problem);
    const bool known = ok && ms_http_etag_matches(ms_http_header(call, "If-None-Match"), etag);
    if (ok && !known) {
        archive->render = ms_api_open_render(archive->api, job, &archive->files[0].plan, problem);
        ok = archive->render != NULL;
    }
    if (!ok) {
        close_archive(archive);
        return false;
    }
    char disposition[MS_DISPOSITION_BYTES], what[MS_API_PART_NAME_BYTES];
    ms_api_part_name(&archive->files[0].plan, "stems", what);
    ms_api_disposition(job, what, "zip", disposition);
    ms_api_add_download_headers(call, disposition, etag, false);
    if (known) {
        close_archive(archive);
        ms_http_reply(call, 304, NULL, NULL, 0);
        return true;
    }
    const struct ms_http_stream stream = {.length = length_of(archive, unix_s),
                                          .read = read_archive,
                                          .close = close_archive,
                                          .context = archive};
    ms_http_reply_stream(call, 200, "application/zip", &stream);
    return true;
}

void ms_api_v2_archive(const struct ms_http_call *call) {
    static const char *const known[] = {"format", "bitrate", "sample_type", "clip",
                                        "from",   "seconds", NULL};
    struct ms_job job = {0};
    struct ms_api_wanted wanted = {0};
    struct ms_problem problem;
    if (!ms_api_find_asked(call, &job, &problem) || !ms_api_is_finished(&job, &problem) ||
        !ms_api_query_has_only(call, known, &problem) ||
        !ms_api_wanted_read(call, &wanted, &problem) ||
        !reply_archive(call, &job, &wanted, &problem))
        ms_api_reply_problem(call, &problem);
    ms_api_wanted_fini(&wanted);
    ms_job_fini(&job);
}
