/* Uploads that a killed process began: listed page by page, and aborted where they are old. Owns
 * one page in memory; runs on the caller's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "msaas/url.h"
#include "s3.h"

#define PAGE_UPLOADS 100
#define KEY_BYTES 1100 /* of S3's keys, which may be another program's */
#define ID_BYTES 400

struct upload {
    char key[KEY_BYTES], id[ID_BYTES];
};

/* The uploads behind `last`; its key is "" at the beginning. */
static int list(struct ms_s3 *s3, const char *bucket, const struct upload *last,
                struct ms_s3_page *page, struct ms_error *err) {
    char *key = ms_percent_encode(last->key, false), *id = ms_percent_encode(last->id, false);
    char *query = key == NULL || id == NULL ? NULL
                  : key[0] == '\0'
                      ? ms_strdupf("max-uploads=%d&uploads=", PAGE_UPLOADS)
                      : ms_strdupf("key-marker=%s&max-uploads=%d&upload-id-marker=%s&uploads=", key,
                                   PAGE_UPLOADS, id);
    struct ms_s3_call call = {.method = "GET",
                              .bucket = bucket,
                              .query = query,
                              .write = ms_s3_page_take,
                              .context = page};
    page->size = 0;
    page->xml[0] = '\0';
    const int rc = query != NULL ? ms_s3_do(s3, &call, err)
                                 : ms_error_set(err, MS_ENOMEM, "no memory for a list of uploads");
    free(key);
    free(id);
    free(query);
    return rc;
}

static int abort_upload(struct ms_s3 *s3, const char *bucket, const struct upload *upload,
                        struct ms_error *err) {
    char *id = ms_percent_encode(upload->id, false);
    char *query = id != NULL ? ms_strdupf("uploadId=%s", id) : NULL;
    struct ms_s3_call call = {
        .method = "DELETE", .bucket = bucket, .key = upload->key, .query = query};
    const int rc = query != NULL ? ms_s3_do(s3, &call, err)
                                 : ms_error_set(err, MS_ENOMEM, "no memory to abort an upload");
    free(id);
    free(query);
    return rc;
}

static bool is_older(const char *initiated, int64_t age_s) {
    const int64_t begin_ms = ms_s3_time_ms(initiated);
    return begin_ms > 0 && ms_unix_ms() - begin_ms >= age_s * 1000;
}

/* One page; *seen: how many uploads were on it. */
static int sweep_page(struct ms_s3 *s3, const char *bucket, int64_t age_s, struct ms_s3_page *page,
                      struct upload *last, int *seen, int *count, struct ms_error *err) {
    static const char begin[] = "<Upload>", end[] = "</Upload>";
    char *stop;
    *seen = 0;
    int rc = list(s3, bucket, last, page, err);
    for (char *at = page->xml; rc == 0 && (at = strstr(at, begin)) != NULL; at = stop + 1) {
        stop = strstr(at, end);
        if (stop == NULL)
            break;
        *stop = '\0';
        char initiated[40];
        if (!ms_s3_xml(at, "Key", last->key, sizeof last->key) ||
            !ms_s3_xml(at, "UploadId", last->id, sizeof last->id) ||
            !ms_s3_xml(at, "Initiated", initiated, sizeof initiated))
            return ms_error_set(err, MS_ENET, "S3 listed an upload without key, id or time");
        (*seen)++;
        if (!is_older(initiated, age_s))
            continue;
        rc = abort_upload(s3, bucket, last, err);
        *count += rc == 0;
        if (rc == MS_ENOTFOUND) /* it has ended meanwhile */
            rc = 0;
    }
    return rc;
}

int ms_s3_sweep(struct ms_store *store, const char *bucket, int64_t age_s, int *count,
                struct ms_error *err) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    struct upload last = {"", ""};
    struct ms_s3_page page = {.xml = malloc(MS_S3_PAGE_BYTES)};
    int rc = page.xml != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a list of uploads");
    for (int all = 0, seen = 1; rc == 0 && seen > 0 && all < MS_STORE_SWEEP_MAX; all += seen)
        rc = sweep_page(s3, bucket, age_s, &page, &last, &seen, count, err);
    free(page.xml);
    return rc == MS_ENOTFOUND ? 0 : rc; /* no such bucket */
}
