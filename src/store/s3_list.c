/* Objects of a bucket, listed page by page, in the order of their keys. Owns one page in memory;
 * runs on the caller's thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "msaas/url.h"
#include "s3.h"

static int ask(struct ms_s3 *s3, const char *bucket, const char *prefix, const char *after, int max,
               struct ms_s3_page *page, struct ms_error *err) {
    char *from = ms_percent_encode(after, false), *begin = ms_percent_encode(prefix, false);
    char *query = NULL;
    if (from != NULL && begin != NULL)
        query = ms_strdupf("list-type=2&max-keys=%d&prefix=%s%s%s", max, begin,
                           from[0] != '\0' ? "&start-after=" : "", from);
    struct ms_s3_call call = {.method = "GET",
                              .bucket = bucket,
                              .query = query,
                              .write = ms_s3_page_take,
                              .context = page};
    const int rc = query != NULL ? ms_s3_do(s3, &call, err)
                                 : ms_error_set(err, MS_ENOMEM, "no memory for a list of objects");
    free(from);
    free(begin);
    free(query);
    return rc;
}

static bool read_entry(const char *xml, struct ms_object_entry *entry) {
    char size[24], modified[40];
    if (!ms_s3_xml(xml, "Key", entry->key, sizeof entry->key) ||
        !ms_s3_xml(xml, "Size", size, sizeof size) ||
        !ms_s3_xml(xml, "LastModified", modified, sizeof modified))
        return false;
    char *end;
    entry->bytes = strtoll(size, &end, 10);
    entry->modified_ms = ms_s3_time_ms(modified);
    return *end == '\0' && entry->bytes >= 0;
}

int ms_s3_list(struct ms_store *store, const char *bucket, const char *prefix, const char *after,
               int max, struct ms_object_entry *entries, int *count, struct ms_error *err) {
    static const char begin[] = "<Contents>", end[] = "</Contents>";
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    struct ms_s3_page page = {.xml = malloc(MS_S3_PAGE_BYTES)};
    if (page.xml == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of objects");
    page.xml[0] = '\0';
    int rc = ask(s3, bucket, prefix, after, max, &page, err);
    char *stop;
    for (char *at = page.xml; rc == 0 && *count < max && (at = strstr(at, begin)) != NULL;
         at = stop + 1) {
        stop = strstr(at, end);
        if (stop == NULL)
            break;
        *stop = '\0';
        struct ms_object_entry *entry = &entries[*count];
        if (!read_entry(at, entry))
            rc = ms_error_set(err, MS_ENET, "S3 listed an object without key, size or time");
        else if (strncmp(entry->key, prefix, strlen(prefix)) == 0 && strcmp(entry->key, after) > 0)
            (*count)++;
    }
    free(page.xml);
    return rc == MS_ENOTFOUND ? 0 : rc; /* no such bucket */
}
