/* The headers of downloads: under which name one is saved, Content-Disposition (RFC 6266), with the
 * song's name; and those that all have. */
#ifndef MSAAS_API_DISPOSITION_H
#define MSAAS_API_DISPOSITION_H

#include "msaas/file_name.h"
#include "msaas/http_server.h"
#include "msaas/job.h"

#define MS_DISPOSITION_BYTES 1200

/* The song's name as a file's; where it has none, the job's id. */
void ms_api_song_name(const struct ms_job *job, char out[MS_FILE_NAME_BYTES]);
/* "SONG - WHAT.EXTENSION", or "SONG.EXTENSION" where `what`, of up to MS_JOB_LABEL_MAX + 60 bytes,
 * is "": once in ASCII, for old programs,
 * and once in UTF-8 (RFC 8187). Whatever the song is called, the text is one header's value. */
void ms_api_disposition(const struct ms_job *job, const char *what, const char *extension,
                        char out[MS_DISPOSITION_BYTES]);
/* The headers that every download has; `disposition` as above. etag: "" for none. has_ranges: a
 * part of it may be asked for. */
void ms_api_add_download_headers(const struct ms_http_call *call, const char *disposition,
                                 const char *etag, bool has_ranges);

#endif
