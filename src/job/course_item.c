/* Items of the course's list of work, as its programs write them: a bare id, or JSON. These bytes
 * come from anybody: test/fuzz/fuzz_course_item.c. Owns nothing; any thread. */
#include <stdlib.h>
#include <string.h>

#include "msaas/job.h"
#include "msaas/json.h"
#include "msaas/text.h"

/* By which the course's programs call the id; the first counts. */
static const char *const id_names[] = {"songhash", "hash"};
#define ID_NAMES (sizeof id_names / sizeof *id_names)

/* ---- reading ---- */

bool ms_course_item_id(const char *text, size_t size, char id[MS_JOB_ID_HEX]) {
    const size_t length = MS_JOB_ID_HEX - 1;
    for (size_t i = 0; i < ID_NAMES && size > 0 && *text == '{'; i++) {
        const char *value = NULL;
        size_t value_size = 0;
        if (!ms_json_member_text(text, size, id_names[i], &value, &value_size) ||
            value_size != length + 2 || *value != '"')
            continue;
        text = value + 1;
        size = length;
    }
    if (size != length)
        return false;
    memcpy(id, text, length);
    id[length] = '\0';
    return ms_job_id_is_valid(id);
}

static const char *find_id(const struct ms_json *document) {
    const char *id = ms_json_string(document); /* "ID", as jsonpickle writes a string */
    for (size_t i = 0; id == NULL && i < ID_NAMES; i++)
        id = ms_json_string(ms_json_get(document, id_names[i]));
    return id != NULL && ms_job_id_is_valid(id) ? id : NULL;
}

/* Which songs the store has, the worker finds out: a key that is none, or lies in another bucket,
 * is as good as no key. */
static void take_key(const struct ms_json *document, struct ms_job *job) {
    const char *bucket = ms_json_string(ms_json_get(document, "bucket"));
    const char *key = ms_json_string(ms_json_get(document, "object"));
    if (key == NULL || (bucket != NULL && strcmp(bucket, MS_BUCKET_SONGS) != 0))
        return;
    if (strlen(key) < sizeof job->song_key && ms_is_utf8(key))
        memcpy(job->song_key, key, strlen(key) + 1);
}

/* A callback that is none is left out: it may fail, and the job does not. */
static int take_callback(const struct ms_json *document, const char *text, size_t size,
                         struct ms_job *job, struct ms_error *err) {
    const struct ms_json *node = ms_json_get(document, "callback");
    const char *url = ms_json_string(node);
    const struct ms_json *data = NULL;
    struct ms_job_callback callback = {.version = 1};
    if (url == NULL) {
        url = ms_json_string(ms_json_get(node, "url"));
        data = ms_json_get(node, "data");
    }
    if (url == NULL || !ms_job_callback_url_is_valid(url))
        return 0;
    if (ms_json_is_null(data))
        data = NULL;
    if (data != NULL && ms_json_member_text(text, size, "callback", &text, &size) &&
        ms_json_member_text(text, size, "data", &text, &size))
        callback.data = strndup(text, size); /* as it came: numbers would lose digits */
    else if (data != NULL)
        callback.data = ms_json_print(data); /* the names contain escapes */
    callback.url = strdup(url);
    int rc = 0;
    if (callback.url == NULL || (data != NULL && callback.data == NULL))
        rc = ms_error_set(err, MS_ENOMEM, "no memory for a callback");
    else if (callback.data == NULL || strlen(callback.data) <= MS_JOB_MAX_CALLBACK_DATA)
        rc = ms_job_add_callback(job, &callback, err);
    free(callback.url);
    free(callback.data);
    return rc;
}

int ms_course_item_read(const char *text, size_t size, struct ms_job *out, struct ms_error *err) {
    struct ms_json *document = NULL;
    *out = (struct ms_job){.eta_seconds = -1, .position = -1};
    if (size > MS_COURSE_ITEM_BYTES)
        return ms_error_set(err, MS_EINPUT, "the item is longer than %d bytes",
                            MS_COURSE_ITEM_BYTES);
    int rc = ms_json_parse(text, size, &document, err);
    if (rc != 0)
        return rc;
    const char *id = find_id(document);
    if (id == NULL) {
        ms_json_free(document);
        return ms_error_set(err, MS_EINPUT, "the item has no song's hash");
    }
    memcpy(out->id, id, sizeof out->id);
    ms_job_options_default("", &out->options);
    const char *model = ms_json_string(ms_json_get(document, "model"));
    if (model != NULL) /* a name that is none means the default */
        (void)!ms_job_option_set(&out->options, &ms_job_option_table[MS_JOB_OPTION_MODEL], model,
                                 NULL);
    take_key(document, out);
    rc = take_callback(document, text, size, out, err);
    ms_json_free(document);
    if (rc != 0)
        ms_job_fini(out);
    return rc;
}

/* ---- writing ---- */

/* The text {"songhash":"ID" comes first: queue.lua finds the job by it. */
int ms_course_item_write(const struct ms_job *job, char **out, struct ms_error *err) {
    const struct ms_job_callback *callback = &job->callbacks[0]; /* empty where there is none */
    char key[MS_JOB_SONG_KEY_BYTES];
    struct ms_json_writer *w = ms_json_writer_new();
    *out = NULL;
    if (w != NULL) {
        ms_json_begin_object(w, NULL);
        for (size_t i = 0; i < ID_NAMES; i++)
            ms_json_put_string(w, id_names[i], job->id);
        ms_json_put_string(w, "bucket", MS_BUCKET_SONGS);
        (void)ms_job_song_key(job, MS_JOB_SONG_COURSE, key);
        ms_json_put_string(w, "object", key);
        ms_json_put_string(w, "model", job->options.model[0] != '\0' ? job->options.model : NULL);
        if (callback->version == 1) {
            ms_json_begin_object(w, "callback");
            ms_json_put_string(w, "url", callback->url);
            ms_json_put_json(w, "data", callback->data);
            ms_json_end_object(w);
        } else {
            ms_json_put_null(w, "callback");
        }
        ms_json_end_object(w);
        const char *text = ms_json_writer_text(w, NULL);
        *out = text != NULL ? strdup(text) : NULL;
    }
    ms_json_writer_free(w);
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for an item of the list");
}
