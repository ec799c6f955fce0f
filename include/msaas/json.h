/* JSON: bounded reading, and writing. The only user of cJSON is src/base/json.c.
 *
 * * Reading: a document is parsed once, within limits of size and depth, and walked by borrowed
 * nodes. Writing: a writer takes the values in order. */
#ifndef MSAAS_JSON_H
#define MSAAS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_json; /* a document or a node of one */

/* Parses exactly `size` bytes of UTF-8. The document is the caller's: ms_json_free. Of members with
 * the same name the first counts. MS_EINPUT with the place of the fault: not JSON, deeper than 64,
 * a NUL in a string, more than a million values or 256 MiB. */
MS_MUST_CHECK int ms_json_parse(const char *text, size_t size, struct ms_json **out,
                                struct ms_error *err);
void ms_json_free(struct ms_json *document);

/* Without parsing: the text of the value, quotes of a string included, of the first member `name`
 * in the object `text`. For values that are too large to be copied, or must not be changed. The
 * member's name must be written without escapes. If `text` is not valid JSON, the result means
 * nothing. False: there is no such member. */
bool ms_json_member_text(const char *text, size_t size, const char *name, const char **value,
                         size_t *value_size);

/* Borrowed nodes, NULL where there is none. Every function accepts a NULL node. Names are
 * case-sensitive. */
const struct ms_json *ms_json_get(const struct ms_json *object, const char *name);
const struct ms_json *ms_json_first(const struct ms_json *array_or_object);
const struct ms_json *ms_json_next(const struct ms_json *element);
/* NULL if it is not the member of an object */
const char *ms_json_name(const struct ms_json *member);
size_t ms_json_count(const struct ms_json *array_or_object);
bool ms_json_is_object(const struct ms_json *node);
bool ms_json_is_array(const struct ms_json *node);
bool ms_json_is_null(const struct ms_json *node);
/* NULL, or the string; strings with an embedded NUL are refused at parsing. */
const char *ms_json_string(const struct ms_json *node);
/* False if the node is not a finite number, an integer of at most 2^53 in size, or a boolean. */
bool ms_json_int(const struct ms_json *node, int64_t *value);
bool ms_json_double(const struct ms_json *node, double *value);
bool ms_json_bool(const struct ms_json *node, bool *value);
/* The node as JSON text, compact; the caller's to free(). NULL when memory ran out. */
char *ms_json_print(const struct ms_json *node);

/* ---- writing ---- */
/* name: of the member; NULL inside arrays and at the top. When memory runs out, the rest is ignored
 * and ms_json_writer_text returns NULL. */
struct ms_json_writer;
struct ms_json_writer *ms_json_writer_new(void);
void ms_json_writer_free(struct ms_json_writer *writer);
void ms_json_begin_object(struct ms_json_writer *writer, const char *name);
void ms_json_end_object(struct ms_json_writer *writer);
void ms_json_begin_array(struct ms_json_writer *writer, const char *name);
void ms_json_end_array(struct ms_json_writer *writer);
/* NULL: null */
void ms_json_put_string(struct ms_json_writer *writer, const char *name, const char *value);
void ms_json_put_int(struct ms_json_writer *writer, const char *name, int64_t value);
/* As %.6g; NaN and infinity: null */
void ms_json_put_double(struct ms_json_writer *writer, const char *name, double value);
void ms_json_put_bool(struct ms_json_writer *writer, const char *name, bool value);
void ms_json_put_null(struct ms_json_writer *writer, const char *name);
/* Unix time as ISO 8601 in UTC, with milliseconds; 0: null */
void ms_json_put_time(struct ms_json_writer *writer, const char *name, int64_t unix_ms);
/* A value that is JSON already, and is taken as it is. NULL: null */
void ms_json_put_json(struct ms_json_writer *writer, const char *name, const char *json);
/* The text: borrowed until the next call, or until the writer is freed. NULL when memory ran out.
 * Invalid UTF-8 in strings is replaced by U+FFFD. */
const char *ms_json_writer_text(struct ms_json_writer *writer, size_t *size);

#endif
