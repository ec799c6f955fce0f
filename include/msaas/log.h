/* The process's log: lines on stderr, plain or JSON. Only cmd, http and worker call it. Any thread;
 * never blocks for long, never fails.
 *
 * A shipper (src/worker/logship.c) may be set: it gets every line in the course's form,
 * "HOST.rest.info:text". */
#ifndef MSAAS_LOG_H
#define MSAAS_LOG_H

#include <stdbool.h>

#include "msaas/err.h"

enum ms_log_level { MS_LOG_DEBUG, MS_LOG_INFO, MS_LOG_WARN, MS_LOG_ERROR };

/* role: "rest", "worker", "logs": the course's names. Before it: plain, info. */
void ms_log_init(const char *role, enum ms_log_level least, bool json);
/* One line: control characters are replaced. The text must not contain secrets: pass URLs through
 * ms_url_public. */
void ms_log(enum ms_log_level level, const char *fmt, ...) MS_PRINTF(2, 3);
/* With fields: pairs of "key", "value", ended by NULL. They are members of the JSON; plain lines
 * end in key=value (logfmt): a value that is empty or holds a blank, '"' or '=' is quoted, and so
 * is a text that holds '='. Values are cut to 639 bytes. */
void ms_log_fields(enum ms_log_level level, const char *text, ...) __attribute__((sentinel));
/* The time now, as lines of the log have it: UTC, RFC 3339, milliseconds. */
#define MS_LOG_STAMP_BYTES 40
void ms_log_stamp(char stamp[MS_LOG_STAMP_BYTES]);
/* ship gets every line and must not block. NULL: none. */
void ms_log_set_shipper(void (*ship)(void *context, const char *line), void *context);

#endif
