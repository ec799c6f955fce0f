/* Zip archives as a stream: what is in a file is stored as it is, without compression, since music
 * is compressed already. It is a format (APPNOTE 6.3), no I/O: the writer gives the bytes around
 * the files' own, and the caller sends all of them, in order:
 *
 *     for each file: ms_zip_writer_begin, the file's bytes (told to ms_zip_writer_add),
 *                    ms_zip_writer_end
 *     then           ms_zip_writer_finish
 *
 * Nothing is sought back to: a file's size and CRC-32 follow its bytes. Memory: 100 bytes and the
 * name for each file. Zip64 where it is needed, so there is no limit on size or number. Names are
 * UTF-8. The same calls give the same bytes. Any thread; one writer serves one at a time. */
#ifndef MSAAS_ZIP_WRITER_H
#define MSAAS_ZIP_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_zip_writer;

/* unix_s: the time that all files get, in UTC; before 1980: the beginning of 1980. */
MS_MUST_CHECK int ms_zip_writer_new(int64_t unix_s, struct ms_zip_writer **out,
                                    struct ms_error *err);
void ms_zip_writer_free(struct ms_zip_writer *zip);

/* The next file; its name may have folders, "song/vocals.flac". most_bytes: it is not longer; -1:
 * not known. *bytes are the writer's until its next call. MS_EUSAGE: a name that is empty, begins
 * with a slash or exceeds 65,535 bytes. */
MS_MUST_CHECK int ms_zip_writer_begin(struct ms_zip_writer *zip, const char *name,
                                      int64_t most_bytes, const void **bytes, size_t *size,
                                      struct ms_error *err);
/* The file's next bytes are these. */
void ms_zip_writer_add(struct ms_zip_writer *zip, const void *bytes, size_t size);
/* As add, of bytes that nobody has: only the length of such an archive is right. */
void ms_zip_writer_skip(struct ms_zip_writer *zip, int64_t count);
/* MS_EINTERNAL: the file has more bytes than was said when it began. */
MS_MUST_CHECK int ms_zip_writer_end(struct ms_zip_writer *zip, const void **bytes, size_t *size,
                                    struct ms_error *err);
/* What stands behind the last file. */
MS_MUST_CHECK int ms_zip_writer_finish(struct ms_zip_writer *zip, const void **bytes, size_t *size,
                                       struct ms_error *err);
/* Of the archive so far, the files' own bytes included. */
int64_t ms_zip_writer_length(const struct ms_zip_writer *zip);

#endif
