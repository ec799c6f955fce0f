/* Text from outside: whether it is UTF-8, and which characters may go to a terminal or into a line
 * of the log. */
#ifndef MSAAS_TEXT_H
#define MSAAS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length in bytes of the UTF-8 character at `text`, where `left` > 0 bytes can be read; 0: they
 * are malformed. *code: the character; code may be NULL. */
size_t ms_utf8_read(const void *text, size_t left, uint32_t *code);
bool ms_is_utf8(const char *text);
/* False for characters that steer a terminal, end a line, or change the direction of the text
 * beside them: C0, DEL, C1, bidi controls, U+2028, U+2029. */
bool ms_char_is_plain(uint32_t code);
/* Changes the text in place: newline and tab become a blank; other characters that are not plain,
 * and bytes that are not UTF-8, become '?'. */
void ms_text_flatten(char *text);
/* The first word at or behind `at` of a list by commas and blanks, as operators write them;
 * *length: its bytes. NULL: there is none. at NULL: no list. */
const char *ms_text_word(const char *at, size_t *length);

#endif
