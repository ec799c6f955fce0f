/* See disposition.h. Any thread. */
#include "disposition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/text.h"
#include "msaas/url.h"

void ms_api_song_name(const struct ms_job *job, char out[MS_FILE_NAME_BYTES]) {
    ms_file_name(job->input_name, out);
    if (out[0] == '\0')
        (void)snprintf(out, MS_FILE_NAME_BYTES, "%s", job->id);
}

void ms_api_disposition(const struct ms_job *job, const char *what, const char *extension,
                        char out[MS_DISPOSITION_BYTES]) {
    char song[MS_FILE_NAME_BYTES], name[MS_FILE_NAME_BYTES + MS_JOB_LABEL_MAX + 80];
    char ascii[sizeof name];
    ms_api_song_name(job, song);
    (void)snprintf(name, sizeof name, "%s%s%s.%s", song, what[0] != '\0' ? " - " : "", what,
                   extension);
    size_t size = 0;
    for (const char *at = name; *at != '\0'; size++) {
        /* Some programs take a percent sign for the beginning of an escape. */
        const bool plain = *at >= 0x20 && *at < 0x7f && *at != '%' && *at != '"' && *at != '\\';
        ascii[size] = (char)(plain ? *at : '_');
        const size_t length = ms_utf8_read(at, strlen(at), NULL);
        at += length > 0 ? length : 1;
    }
    ascii[size] = '\0';
    char *encoded = ms_percent_encode(name, false);
    (void)snprintf(out, MS_DISPOSITION_BYTES, "attachment; filename=\"%s\"%s%s", ascii,
                   encoded != NULL ? "; filename*=UTF-8''" : "", encoded != NULL ? encoded : "");
    free(encoded);
}

void ms_api_add_download_headers(const struct ms_http_call *call, const char *disposition,
                                 const char *etag, bool has_ranges) {
    if (etag[0] != '\0')
        ms_http_add_header(call, "ETag", etag);
    ms_http_add_header(call, "Accept-Ranges", has_ranges ? "bytes" : "none");
    ms_http_add_header(call, "Content-Disposition", disposition);
    ms_http_add_header(call, "Cache-Control", "private, no-cache");
    ms_http_add_header(call, "X-Content-Type-Options", "nosniff");
}
