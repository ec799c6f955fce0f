/* Text from strangers: whether it is UTF-8, and what of it may go to a terminal or into a line of
 * the log. */
#ifndef MSAAS_TEXT_H
#define MSAAS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed UTF-8 character at `text`, of which `left` > 0 bytes are there, and its
 * code (may be NULL); 0 where there is none. */
size_t ms_utf8_read(const void *text, size_t left, uint32_t *code);
bool ms_is_utf8(const char *text);
/* Not one that steers a terminal, ends a line, or changes the direction of what is written beside
 * it: C0, DEL, C1, bidi controls, U+2028, U+2029. */
bool ms_char_is_plain(uint32_t code);
/* In place: characters that are not plain, and bytes that are no UTF-8, become '?', newline and tab
 * a blank. */
void ms_text_flatten(char *text);

#endif
