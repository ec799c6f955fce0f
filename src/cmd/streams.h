/* Standard input and output as songs and stems go through them. */
#ifndef MSAAS_CMD_STREAMS_H
#define MSAAS_CMD_STREAMS_H

#include <stddef.h>

#include "msaas/err.h"

#define MS_STANDARD_INPUT "/dev/stdin"

/* Reads standard input to its end into a file without a name, which takes its place: from then on
 * MS_STANDARD_INPUT can be opened like any file, as often as one likes. MS_EUSAGE: a terminal. */
MS_MUST_CHECK int ms_streams_keep_input(struct ms_error *err);

/* *fd: standard output, for results alone; the caller's to close. What is printed from now on goes
 * to standard error. MS_EUSAGE: a terminal. */
MS_MUST_CHECK int ms_streams_take_output(int *fd, struct ms_error *err);
/* MS_ECANCELED: interrupted while the reader took nothing. */
MS_MUST_CHECK int ms_streams_write(int fd, const void *bytes, size_t size, struct ms_error *err);

/* Where files without a place of their own lie: $TMPDIR or /tmp. */
const char *ms_streams_folder(void);

#endif
