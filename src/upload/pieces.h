/* What the files of the room share: the names of an upload's objects, and its lists. */
#ifndef MSAAS_UPLOAD_PIECES_H
#define MSAAS_UPLOAD_PIECES_H

#include "msaas/upload.h"

#define MS_UPLOAD_FOLDER "uploads/"
#define MS_UPLOAD_KEY_BYTES 96

struct ms_upload_piece {
    int64_t offset, bytes;
    int number; /* 0: the first */
};
void ms_upload_piece_key(const char *id, const struct ms_upload_piece *piece,
                         char key[MS_UPLOAD_KEY_BYTES]);
/* What an entry of the list of an upload's objects is. False: no piece. */
bool ms_upload_piece_of(const struct ms_object_entry *entry, const char *id,
                        struct ms_upload_piece *piece);

#endif
