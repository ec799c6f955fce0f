/* What the backends of the queue share: reading of URLs, of stored documents and of cursors,
 * counts. Owns nothing; any thread. */
#include "queue_ops.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/text.h"

const char *ms_queue_file(const char *url) {
    return strncmp(url, "sqlite:", 7) == 0 ? url + 7 : NULL;
}

void ms_record_fini(struct ms_record *record) {
    ms_job_fini(&record->job);
    *record = (struct ms_record){0};
}

int ms_record_read(struct ms_record *record, const char *doc, size_t size, struct ms_error *err) {
    const struct ms_job fields = record->job;
    struct ms_job job = {.eta_seconds = -1};
    int rc = 0;
    if (doc == NULL) {
        memcpy(job.id, fields.id, sizeof job.id);
        ms_job_options_default("", &job.options);
    } else {
        rc = ms_job_from_json(doc, size, &job, err);
    }
    if (rc == 0 && strcmp(job.id, fields.id) != 0) {
        ms_job_fini(&job);
        rc = ms_error_set(err, MS_ECORRUPT, "the record of job %.12s... is another job's",
                          fields.id);
    }
    if (rc != 0) {
        record->unreadable = rc == MS_ECORRUPT;
        return rc;
    }
    record->job = job;
    memcpy(record->job.owner, fields.owner, sizeof fields.owner);
    record->job.state = fields.state;
    record->job.position = fields.position;
    if (fields.created_ms != 0)
        record->job.created_ms = fields.created_ms;
    if (fields.started_ms != 0)
        record->job.started_ms = fields.started_ms;
    if (fields.attempts != 0)
        record->job.attempts = fields.attempts;
    return 0;
}

void ms_queue_tell_junk(const struct ms_queue *queue, const char *item, size_t size) {
    char text[4 * MS_JUNK_CHARACTERS + 1];
    size_t used = 0;
    for (int i = 0; i < MS_JUNK_CHARACTERS && used < size; i++) {
        const size_t length = ms_utf8_read(item + used, size - used, NULL);
        used += length > 0 ? length : 1;
    }
    for (size_t i = 0; i < used; i++)
        text[i] = (char)(item[i] != '\0' ? item[i] : '?');
    text[used] = '\0';
    ms_text_flatten(text);
    if (queue->on_junk != NULL)
        queue->on_junk(queue->junk_context, text);
}

int ms_queue_read_cursor(const char *cursor, char end, int64_t first, int64_t *number,
                         const char **rest, struct ms_error *err) {
    *number = first;
    *rest = "";
    if (cursor == NULL || cursor[0] == '\0')
        return 0;
    char *at = NULL;
    errno = 0;
    *number = strtoll(cursor, &at, 10);
    if (errno != 0 || at == cursor || *at != end)
        return ms_error_set(err, MS_EUSAGE,
                            "cursor: must be what the list before gave as its next one");
    if (end != '\0')
        *rest = at + 1;
    return 0;
}

void ms_queue_add_waiting(struct ms_queue_stats *stats, const char *model, int64_t waiting) {
    if (stats->model_count == MS_QUEUE_MAX_MODELS)
        return;
    const int at = stats->model_count++;
    (void)snprintf(stats->models[at].name, sizeof stats->models[at].name, "%s", model);
    stats->models[at].waiting = waiting;
}
