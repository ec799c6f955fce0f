/* Storing on S3: small objects, and those that must be new, in one request, larger ones in parts.
 * The digest of what is sent is signed with each request, and that of the whole object is kept with
 * it. A broken upload is aborted: nothing of it is ever seen. An upload that a killed process began
 * is not seen either, but takes space until it is swept (s3_sweep.c). Runs on the caller's thread.
 * */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"
#include "msaas/url.h"
#include "s3.h"

#define PART_BYTES (INT64_C(8) << 20)
#define MAX_PARTS 10000
#define PART_XML_BYTES 160

static int make_bucket(struct ms_s3 *s3, const char *bucket, struct ms_error *err) {
    char xml[300];
    struct ms_store_source body = {.fd = -1, .bytes = xml};
    struct ms_s3_call call = {.method = "PUT", .bucket = bucket};
    int rc;
    /* AWS must be told a bucket's region unless it is us-east-1. Other servers may not know the
     * region's name. */
    if (!s3->foreign_endpoint && strcmp(s3->region, "us-east-1") != 0) {
        body.size = snprintf(xml, sizeof xml,
                             "<CreateBucketConfiguration "
                             "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                             "<LocationConstraint>%s</LocationConstraint>"
                             "</CreateBucketConfiguration>",
                             s3->region);
        char hex[MS_SHA256_HEX];
        rc = ms_sha256_of(xml, (size_t)body.size, hex, err);
        if (rc != 0)
            return rc;
        call.body = &body;
        call.body_bytes = body.size;
        call.body_sha256 = hex;
    }
    rc = ms_s3_send(s3, &call, err);
    if (rc != 0)
        return rc;
    if (call.status == 409)
        return 0; /* it exists; its first use shows whether we have access */
    return ms_s3_status(&call, err);
}

/* Makes the call. Where the bucket is missing, makes the bucket and calls again. */
static int do_in_bucket(struct ms_s3 *s3, struct ms_s3_call *call, struct ms_error *err) {
    int rc = ms_s3_do(s3, call, err);
    if (rc != MS_ENOTFOUND || !s3->create_buckets || strcmp(call->error, "NoSuchBucket") != 0)
        return rc;
    rc = make_bucket(s3, call->bucket, err);
    return rc != 0 ? rc : ms_s3_do(s3, call, err);
}

struct upload {
    struct ms_s3 *s3;
    const char *bucket, *key, *id; /* id: percent-encoded */
    const struct ms_store_source *source;
    const char *digest; /* the header with the whole object's digest */
    char *xml;          /* the parts' tags */
    size_t xml_size, xml_capacity;
};

static int add_part(struct upload *upload, int number, const char *etag, struct ms_error *err) {
    if (upload->xml_size + PART_XML_BYTES > upload->xml_capacity) {
        const size_t capacity = 2 * (upload->xml_size + PART_XML_BYTES);
        char *grown = realloc(upload->xml, capacity);
        if (grown == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for the list of an upload's parts");
        upload->xml = grown;
        upload->xml_capacity = capacity;
    }
    upload->xml_size +=
        (size_t)snprintf(upload->xml + upload->xml_size, PART_XML_BYTES,
                         "%s<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>",
                         number == 1 ? "<CompleteMultipartUpload>" : "", number, etag);
    return 0;
}

static int send_part(struct upload *upload, int number, int64_t first, int64_t bytes,
                     struct ms_sha256 *whole, struct ms_error *err) {
    char hex[MS_SHA256_HEX], query[600];
    struct ms_s3_call call = {.method = "PUT",
                              .bucket = upload->bucket,
                              .key = upload->key,
                              .query = query,
                              .body = upload->source,
                              .body_first = first,
                              .body_bytes = bytes,
                              .body_sha256 = hex};
    int rc =
        ms_store_source_sha256(&upload->s3->store, upload->source, first, bytes, whole, hex, err);
    if (rc != 0)
        return rc;
    snprintf(query, sizeof query, "partNumber=%d&uploadId=%s", number, upload->id);
    rc = ms_s3_do(upload->s3, &call, err);
    if (rc != 0)
        return rc;
    if (call.etag[0] == '\0' || strpbrk(call.etag, "<&>") != NULL)
        return ms_error_set(err, MS_ENET, "S3 gave no tag for a part of an upload");
    return add_part(upload, number, call.etag, err);
}

static int complete(struct upload *upload, char etag[80], struct ms_error *err) {
    static const char end[] = "</CompleteMultipartUpload>";
    char hex[MS_SHA256_HEX], query[600];
    struct ms_store_source body = {.fd = -1};
    struct ms_s3_call call = {.method = "POST",
                              .bucket = upload->bucket,
                              .key = upload->key,
                              .query = query,
                              .body = &body,
                              .body_sha256 = hex};
    memcpy(upload->xml + upload->xml_size, end, sizeof end); /* add_part left room */
    upload->xml_size += strlen(end);
    body.bytes = upload->xml;
    body.size = call.body_bytes = (int64_t)upload->xml_size;
    snprintf(query, sizeof query, "uploadId=%s", upload->id);
    int rc = ms_sha256_of(upload->xml, upload->xml_size, hex, err);
    if (rc == 0)
        rc = ms_s3_do(upload->s3, &call, err);
    if (rc == 0 && ms_s3_xml(call.reply, "ETag", etag, 80) && etag[0] == '"')
        return 0;
    struct ms_object_info info;
    /* Some servers do not return the tag. And where S3 knows no such upload, an earlier attempt may
     * have completed it and only its answer was lost. The object shows it in both cases. */
    if (rc == 0 || call.status == 404) {
        if (ms_s3_head(&upload->s3->store, upload->bucket, upload->key, &info, NULL, NULL) == 0 &&
            strcmp(info.sha256, strchr(upload->digest, ' ') + 1) == 0) {
            memcpy(etag, info.etag, sizeof info.etag);
            return 0;
        }
        etag[0] = '\0';
    }
    return rc;
}

static int send_parts(struct upload *upload, struct ms_error *err) {
    const int64_t size = upload->source->size;
    const int64_t least = (size + MAX_PARTS - 1) / MAX_PARTS;
    const int64_t part_bytes = least > PART_BYTES ? least : PART_BYTES;
    const char *wanted = strchr(upload->digest, ' ') + 1;
    struct ms_sha256 *whole = NULL;
    int rc = ms_sha256_new(&whole, err);
    for (int64_t first = 0, number = 1; rc == 0 && first < size; first += part_bytes, number++)
        rc = send_part(upload, (int)number, first,
                       size - first < part_bytes ? size - first : part_bytes, whole, err);
    char hex[MS_SHA256_HEX];
    if (rc == 0) {
        ms_sha256_hex(whole, hex); /* S3 checked each part, but not the whole */
        if (strcmp(hex, wanted) != 0)
            rc = ms_store_corrupt(err, upload->source->name, hex, wanted);
    }
    ms_sha256_free(whole);
    return rc;
}

static int put_parts(struct upload *upload, const char *type, char etag[80], struct ms_error *err) {
    struct ms_s3_call begin = {.method = "POST",
                               .bucket = upload->bucket,
                               .key = upload->key,
                               .query = "uploads=",
                               .headers = {upload->digest, type}};
    char query[600];
    struct ms_s3_call abort = {.method = "DELETE",
                               .bucket = upload->bucket,
                               .key = upload->key,
                               .query = query,
                               .closing = true};
    int rc = do_in_bucket(upload->s3, &begin, err);
    if (rc != 0)
        return rc;
    char id[400];
    if (!ms_s3_xml(begin.reply, "UploadId", id, sizeof id))
        return ms_error_set(err, MS_ENET, "S3 began an upload, but gave no usable id for it");
    char *encoded = ms_percent_encode(id, false);
    if (encoded == NULL || strlen(encoded) > sizeof query - 40) {
        rc = ms_error_set(err, MS_ENOMEM, "no memory for the id of an upload");
        goto out;
    }
    upload->id = encoded;
    rc = send_parts(upload, err);
    if (rc == 0)
        rc = complete(upload, etag, err);
    if (rc != 0) {
        snprintf(query, sizeof query, "uploadId=%s", encoded);
        (void)!ms_s3_do(upload->s3, &abort, NULL); /* the first error is the one to report */
    }
out:
    free(encoded);
    free(upload->xml);
    return rc;
}

int ms_s3_put(struct ms_store *store, const char *bucket, const char *key,
              const struct ms_store_source *source, struct ms_object_info *info,
              struct ms_error *err) {
    struct ms_s3 *s3 = (struct ms_s3 *)store;
    char hex[MS_SHA256_HEX];
    int rc = 0;
    if (source->sha256 != NULL)
        memcpy(hex, source->sha256, sizeof hex);
    else
        rc = ms_store_source_sha256(store, source, 0, source->size, NULL, hex, err);
    if (rc != 0)
        return rc;
    char digest[100];
    snprintf(digest, sizeof digest, "x-amz-meta-sha256: %s", hex);
    char *type = ms_strdupf("content-type: %s", source->content_type[0] != '\0'
                                                    ? source->content_type
                                                    : "application/octet-stream");
    if (type == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory to store an object");
    char etag[80] = "";
    if (source->size > PART_BYTES && !source->exclusive) {
        struct upload upload = {
            .s3 = s3, .bucket = bucket, .key = key, .source = source, .digest = digest};
        rc = put_parts(&upload, type, etag, err);
    } else {
        struct ms_s3_call call = {
            .method = "PUT",
            .bucket = bucket,
            .key = key,
            .headers = {digest, type, source->exclusive ? "if-none-match: *" : NULL},
            .body = source,
            .body_bytes = source->size,
            .body_sha256 = hex};
        rc = do_in_bucket(s3, &call, err);
        memcpy(etag, call.etag, sizeof etag);
    }
    free(type);
    if (rc != 0)
        return rc;
    *info = (struct ms_object_info){
        .bytes = source->size,
        .modified_ms = ms_unix_ms(),
    };
    memcpy(info->sha256, hex, sizeof hex);
    memcpy(info->etag, etag, sizeof etag);
    return 0;
}
