/* Reads the requests that bring a song, in all their forms, and says what is wrong with them. Pure;
 * any thread. */
#ifndef MSAAS_HTTP_SONG_REQUEST_H
#define MSAAS_HTTP_SONG_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/job.h"
#include "msaas/upload.h"

struct ms_problem { /* an error as clients see it: RFC 9457 for /apiv2, a reason elsewhere */
    int status;
    const char *code;  /* stable, for programs: a constant */
    int retry_after_s; /* 0: none */
    char text[400];    /* for people */
};
/* Always false. */
bool ms_problem_set(struct ms_problem *problem, int status, const char *code, const char *fmt, ...)
    MS_PRINTF(4, 5);

struct ms_song_request {
    struct ms_job_options options; /* model "": that of the server */
    struct ms_job_callback callback;
    char input_name[MS_JOB_INPUT_NAME_BYTES];
    const void *song; /* in the request's body */
    size_t song_bytes;
    char upload[MS_UPLOAD_ID_BYTES]; /* whose song it is instead; "": the body's */
};
void ms_song_request_fini(struct ms_song_request *request);
/* The song's name, from a file's: without folders, cut where it is too long. */
void ms_song_request_name(const char *name, char out[MS_JOB_INPUT_NAME_BYTES]);

/* /apiv1: JSON; its song is decoded in place. The caller calls ms_song_request_fini on *out, also
 * after false. */
bool ms_song_request_v1(void *body, size_t size, int64_t max_song_bytes,
                        struct ms_song_request *out, struct ms_problem *problem);
/* /apiv2: multipart/form-data, JSON that names an upload, or the song itself, by content_type
 * (NULL: the song). query: raw. */
bool ms_song_request_v2(const char *content_type, const char *query, const void *body, size_t size,
                        int64_t max_song_bytes, struct ms_song_request *out,
                        struct ms_problem *problem);

#endif
