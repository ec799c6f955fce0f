/* JSON: bounded reading, and writing. The only user of cJSON is src/base/json.c.
 *
 * Reading: a document is parsed once (size and depth limited) and walked by borrowed nodes.
 * Writing: an append-only writer that puts commas and escapes itself. */
#ifndef MSAAS_JSON_H
#define MSAAS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_json; /* a document or a node of one */

/* Parses exactly `size` bytes of UTF-8 (no byte may be left over). MS_EINPUT with the place of the
 * fault. The document is the caller's: ms_json_free. Depth over 64 is refused. Duplicate names: the
 * first counts. */
MS_MUST_CHECK int ms_json_parse(const char *text, size_t size, struct ms_json **out,
                                struct ms_error *err);
void ms_json_free(struct ms_json *document);

/* Without parsing: the text of the value of the first member of that name (written without escapes)
 * of the object that `text` is; a string's quotes included. For values that are too large to be
 * copied, or must not be changed. Of text that is no valid JSON what is found means nothing. False:
 * there is none. */
bool ms_json_member_text(const char *text, size_t size, const char *name, const char **value,
                         size_t *value_size);

/* Borrowed nodes, NULL where there is none (a NULL node is accepted everywhere). Names are
 * case-sensitive. */
const struct ms_json *ms_json_get(const struct ms_json *object, const char *name);
const struct ms_json *ms_json_first(const struct ms_json *array_or_object);
const struct ms_json *ms_json_next(const struct ms_json *element);
const char *ms_json_name(const struct ms_json *member); /* of an object's member; NULL for others */
size_t ms_json_count(const struct ms_json *array_or_object);
bool ms_json_is_object(const struct ms_json *node);
bool ms_json_is_array(const struct ms_json *node);
bool ms_json_is_null(const struct ms_json *node);
/* NULL, or the string; strings with an embedded NUL are refused at parsing. */
const char *ms_json_string(const struct ms_json *node);
/* true and the value, where the node is a number (an integer without loss: |value| <= 2^53) or a
 * boolean. */
bool ms_json_int(const struct ms_json *node, int64_t *value);
bool ms_json_double(const struct ms_json *node, double *value);
bool ms_json_bool(const struct ms_json *node, bool *value);
/* The node as JSON text, compact; the caller's to free(). NULL when memory ran out. */
char *ms_json_print(const struct ms_json *node);

/* ---- writing ---- */
/* ms_json_begin_object(w, "name") and the like; name is NULL inside arrays and at the top. Errors
 * (memory) latch and are seen in ms_json_writer_text. */
struct ms_json_writer;
struct ms_json_writer *ms_json_writer_new(void);
void ms_json_writer_free(struct ms_json_writer *writer);
void ms_json_begin_object(struct ms_json_writer *writer, const char *name);
void ms_json_end_object(struct ms_json_writer *writer);
void ms_json_begin_array(struct ms_json_writer *writer, const char *name);
void ms_json_end_array(struct ms_json_writer *writer);
void ms_json_put_string(struct ms_json_writer *writer, const char *name,
                        const char *value); /* NULL: null */
void ms_json_put_int(struct ms_json_writer *writer, const char *name, int64_t value);
void ms_json_put_double(struct ms_json_writer *writer, const char *name,
                        double value); /* %.6g; NaN, inf: null */
void ms_json_put_bool(struct ms_json_writer *writer, const char *name, bool value);
void ms_json_put_null(struct ms_json_writer *writer, const char *name);
void ms_json_put_node(struct ms_json_writer *writer, const char *name, const struct ms_json *node);
/* The finished text: borrowed until the writer is freed. NULL when memory ran out. Invalid UTF-8 in
 * strings is replaced by U+FFFD. */
const char *ms_json_writer_text(struct ms_json_writer *writer, size_t *size);

#endif
