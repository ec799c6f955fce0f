/* The song of a request, wherever its bytes are: in the body, or in an upload. */
#ifndef MSAAS_API_SONG_SOURCE_H
#define MSAAS_API_SONG_SOURCE_H

#include "caller.h"
#include "link.h"
#include "msaas/digest.h"
#include "msaas/upload.h"

struct ms_song_source {
    const void *head; /* its beginning, at most MS_SONG_HEAD_BYTES */
    size_t head_bytes;
    int64_t bytes;
    double seconds;                 /* as far as the head tells: see ms_song_seconds */
    struct ms_object_source object; /* as the store takes it */
    /* Of an upload. Its own link reads it, because the other one stores it meanwhile. */
    struct ms_api_link *link;
    struct ms_upload_reader *reader;
    struct ms_upload upload; /* id "": it is none */
    char *copy;              /* of the head, until the digest is made */
    char sha256[MS_SHA256_HEX];
};

/* Fills request->input_name from the upload, where the request has no name. The caller calls
 * ms_song_source_close, also after false. */
bool ms_song_source_open(struct ms_api *api, const struct ms_account *caller,
                         struct ms_song_request *request, struct ms_song_source *out,
                         struct ms_problem *problem);
/* The digest that the job's id is made of: reads all of an upload. The head is gone then. */
bool ms_song_source_digest(struct ms_song_source *source, char sha224[MS_SHA224_HEX],
                           struct ms_problem *problem);
void ms_song_source_close(struct ms_api *api, struct ms_song_source *source);

#endif
