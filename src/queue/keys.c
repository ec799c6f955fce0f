/* Requests that clients send under a key of their own, so that they may send them again. A note of
 * the backend says for each key: the digest of its request, a blank, the token of whoever answers
 * it, a line's end, and the answer, as soon as there is one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/digest.h"
#include "msaas/sys.h"
#include "queue_ops.h"

/* Whoever answers a request lets go of its key; if it died, so late. */
#define AT_WORK_MS 60000

static char *note_of(const char *request, const char *token, const char *answer) {
    return ms_strdupf("%s %s\n%s", request, token, answer);
}

/* What is under the key already. */
static int read_note(const char *note, const char *request, enum ms_key_state *state, char **answer,
                     struct ms_error *err) {
    const char *text = strchr(note, '\n');
    const size_t digest = strlen(request);
    if (text == NULL)
        return ms_error_set(err, MS_ECORRUPT, "the note of a request cannot be read");
    *state = strncmp(note, request, digest) != 0 || note[digest] != ' ' ? MS_KEY_OF_ANOTHER
             : text[1] == '\0'                                          ? MS_KEY_AT_WORK
                                                                        : MS_KEY_ANSWERED;
    if (*state == MS_KEY_ANSWERED && (*answer = strdup(text + 1)) == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for an answer");
    return 0;
}

int ms_queue_begin_key(struct ms_queue *queue, const char *key, const char *request,
                       char token[MS_TOKEN_HEX], enum ms_key_state *state, char **answer,
                       struct ms_error *err) {
    *state = MS_KEY_NEW;
    *answer = NULL;
    int rc = ms_random_hex(token, MS_TOKEN_HEX - 1, err);
    if (rc != 0)
        return rc;
    char *note = note_of(request, token, ""), *found = NULL;
    if (note == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a request's key");
    do {
        free(found);
        found = NULL;
        rc = queue->ops->note(queue, key, "", note, AT_WORK_MS, &found, err);
    } while (rc == MS_ECONFLICT && found == NULL); /* it has just lapsed */
    if (rc == MS_ECONFLICT)
        rc = read_note(found, request, state, answer, err);
    free(found);
    free(note);
    return rc;
}

int ms_queue_end_key(struct ms_queue *queue, const char *key, const char *request,
                     const char token[MS_TOKEN_HEX], const char *answer, struct ms_error *err) {
    char *old = note_of(request, token, ""), *found = NULL;
    char *note = answer != NULL ? note_of(request, token, answer) : strdup("");
    int rc = old != NULL && note != NULL
                 ? queue->ops->note(queue, key, old, note, MS_KEY_MS, &found, err)
                 : ms_error_set(err, MS_ENOMEM, "no memory for a request's key");
    free(found);
    free(note);
    free(old);
    return rc;
}
