/* Large songs on their way to a server: uploads that go on where they broke off. */
#ifndef MSAAS_CMD_RESUME_H
#define MSAAS_CMD_RESUME_H

#include "client.h"

/* Smaller songs are sent with their job, in one request. */
#define MS_RESUME_LEAST_BYTES (INT64_C(8) << 20)

/* A file that is being sent. */
struct ms_resume {
    struct ms_client *client;
    const char *path;
    int fd;
    int64_t bytes;    /* of the file */
    const char *name; /* of the song; NULL: none */
    char *note;       /* the file that remembers the upload; NULL: nothing does */
    char upload[33];  /* "": none yet */
    int64_t offset;   /* so much has the server */
    int64_t sent;     /* so much was read to be sent */
};

/* Sends the file by tus, up to its end, and goes on with what an earlier run began: the same file
 * (path, size and time of its last change) to the same server with the same token. A connection
 * that breaks is made anew for as long as there is some progress every two minutes.
 * MS_EUNSUPPORTED: the server has no uploads. path, fd, bytes, name and client are the caller's;
 * ms_resume_end after any result. */
MS_MUST_CHECK int ms_resume_send(struct ms_resume *resume, struct ms_error *err);
/* Forgets the upload, here and on the server: a job was made of it, or none can be. */
void ms_resume_forget(struct ms_resume *resume);
void ms_resume_end(struct ms_resume *resume);

#endif
