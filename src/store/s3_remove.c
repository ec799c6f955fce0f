/* Removing from S3: one object; and what it has to list before, page by page: objects that have the
 * beginning of their keys in common, and uploads that a killed process began. Owns one page in
 * memory; runs on the caller's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "msaas/sys.h"
#include "msaas/url.h"
#include "s3.h"

#define PAGE_ITEMS 100
#define PAGE_BYTES ((size_t)512 << 10) /* with the longest keys, each byte escaped */
#define KEY_BYTES 1100                 /* of S3's keys, which may be another program's */
#define ID_BYTES 400

struct upload {
    char key[KEY_BYTES], id[ID_BYTES];
};

struct page {
    char *xml; /* PAGE_BYTES */
    size_t size;
};

/* What does not fit into a page comes with the next one. */
static int take(void *context, const void *bytes, size_t size, struct ms_error *err) {
    struct page *page = context;
    const size_t room = PAGE_BYTES - 1 - page->size;
    const size_t some = size < room ? size : room;
    (void)err;
    memcpy(page->xml + page->size, bytes, some);
    page->size += some;
    page->xml[page->size] = '\0';
    return 0;
}

/* Asks for one page and frees the query, which NULL says that there was no memory for. */
static int get_page(struct ms_s3 *s3, const char *bucket, char *query, struct page *page,
                    struct ms_error *err) {
    struct ms_s3_call call = {
        .method = "GET", .bucket = bucket, .query = query, .write = take, .context = page};
    page->size = 0;
    page->xml[0] = '\0';
    const int rc = query != NULL ? ms_s3_do(s3, &call, err)
                                 : ms_error_set(err, MS_ENOMEM, "no memory for a list of S3");
    free(query);
    return rc;
}

/* The next element of that name on the page, cut out of it at its end. NULL: there is none. */
static char *next_item(char **at, const char *begin, const char *end) {
    char *item = strstr(*at, begin), *stop = item != NULL ? strstr(item, end) : NULL;
    if (stop == NULL)
        return NULL;
    *stop = '\0';
    *at = stop + 1;
    return item;
}

/* ---- unfinished uploads ---- */

/* The uploads behind `last`; its key is "" at the beginning. */
static int list_uploads(struct ms_s3 *s3, const char *bucket, const struct upload *last,
                        struct page *page, struct ms_error *err) {
    char *key = ms_percent_encode(last->key, false), *id = ms_percent_encode(last->id, false);
    char *query = key == NULL || id == NULL ? NULL
                  : key[0] == '\0'
                      ? ms_strdupf("max-uploads=%d&uploads=", PAGE_ITEMS)
                      : ms_strdupf("key-marker=%s&max-uploads=%d&upload-id-marker=%s&uploads=", key,
                                   PAGE_ITEMS, id);
    free(key);
    free(id);
    return get_page(s3, bucket, query, page, err);
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

/* False: this is no time as S3 writes it. */
static bool is_older(const char *initiated, int64_t age_s) {
    struct tm utc = {0};
    return strptime(initiated, "%Y-%m-%dT%H:%M:%S", &utc) != NULL &&
           time(NULL) - timegm(&utc) >= age_s;
}

/* One page; *seen: how many uploads were on it. */
static int sweep_page(struct ms_s3 *s3, const char *bucket, int64_t age_s, struct page *page,
                      struct upload *last, int *seen, int *count, struct ms_error *err) {
    char *at = page->xml, *item;
    *seen = 0;
    int rc = list_uploads(s3, bucket, last, page, err);
    while (rc == 0 && (item = next_item(&at, "<Upload>", "</Upload>")) != NULL) {
        char initiated[40];
        if (!ms_s3_xml(item, "Key", last->key, sizeof last->key) ||
            !ms_s3_xml(item, "UploadId", last->id, sizeof last->id) ||
            !ms_s3_xml(item, "Initiated", initiated, sizeof initiated))
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
    struct page page = {.xml = malloc(PAGE_BYTES)};
    int rc = page.xml != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a list of S3");
    for (int all = 0, seen = 1; rc == 0 && seen > 0 && all < MS_STORE_SWEEP_MAX; all += seen)
        rc = sweep_page(s3, bucket, age_s, &page, &last, &seen, count, err);
    free(page.xml);
    return rc == MS_ENOTFOUND ? 0 : rc; /* no such bucket */
}

/* ---- objects ---- */

int ms_s3_remove(struct ms_store *store, const char *bucket, const char *key,
                 struct ms_error *err) {
    struct ms_s3_call call = {.method = "DELETE", .bucket = bucket, .key = key};
    const int rc = ms_s3_do((struct ms_s3 *)store, &call, err);
    return rc == MS_ENOTFOUND ? 0 : rc;
}

/* One page of the objects behind `last`, which becomes the last of them. */
static int remove_page(struct ms_s3 *s3, const char *bucket, const char *prefix,
                       char last[KEY_BYTES], struct page *page, int *seen, struct ms_error *err) {
    char *begins = ms_percent_encode(prefix, false), *after = ms_percent_encode(last, false);
    char *query = begins == NULL || after == NULL
                      ? NULL
                      : ms_strdupf("list-type=2&max-keys=%d&prefix=%s&start-after=%s", PAGE_ITEMS,
                                   begins, after);
    char *at = page->xml, *item;
    *seen = 0;
    int rc = get_page(s3, bucket, query, page, err);
    while (rc == 0 && (item = next_item(&at, "<Contents>", "</Contents>")) != NULL) {
        if (!ms_s3_xml(item, "Key", last, KEY_BYTES) || strncmp(last, prefix, strlen(prefix)) != 0)
            rc = ms_error_set(err, MS_ENET, "S3 listed an object without the key asked for");
        else
            rc = ms_s3_remove(&s3->store, bucket, last, err);
        (*seen)++;
    }
    free(begins);
    free(after);
    return rc;
}

int ms_s3_remove_all(struct ms_store *store, const char *bucket, const char *prefix,
                     struct ms_error *err) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    struct page page = {.xml = malloc(PAGE_BYTES)};
    char last[KEY_BYTES] = "";
    int rc = page.xml != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a list of S3");
    for (int seen = 1; rc == 0 && seen > 0;)
        rc = remove_page(s3, bucket, prefix, last, &page, &seen, err);
    free(page.xml);
    return rc == MS_ENOTFOUND ? 0 : rc; /* no such bucket */
}
