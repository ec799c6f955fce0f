/* Text from outside, on its way into the log or to a terminal. Pure; any thread. */
#include "msaas/text.h"

#include <string.h>

size_t ms_utf8_read(const void *text, size_t left, uint32_t *code) {
    const unsigned char *at = text;
    const unsigned char lead = at[0];
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : (lead & 0xF0) == 0xE0       ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    if (length == 0 || length > left)
        return 0;
    uint32_t value = length == 1 ? lead : lead & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
        value = value << 6 | (at[i] & 0x3FU);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return 0; /* overlong, beyond Unicode, or a surrogate */
    if (code != NULL)
        *code = value;
    return length;
}

bool ms_is_utf8(const char *text) {
    const char *end = text + strlen(text);
    for (size_t length = 0; text < end; text += length)
        if ((length = ms_utf8_read(text, (size_t)(end - text), NULL)) == 0)
            return false;
    return true;
}

bool ms_char_is_plain(uint32_t code) {
    return code >= 0x20 && (code < 0x7F || code > 0x9F) && code != 0x061C && code != 0x200E &&
           code != 0x200F && (code < 0x2028 || code > 0x202E) && (code < 0x2066 || code > 0x2069);
}

void ms_text_flatten(char *text) {
    const char *at = text, *end = text + strlen(text);
    while (at < end) {
        uint32_t code = 0;
        const size_t length = ms_utf8_read(at, (size_t)(end - at), &code);
        if (length > 0 && ms_char_is_plain(code)) {
            memmove(text, at, length);
            text += length;
        } else {
            *text++ = code == '\n' || code == '\t' ? ' ' : '?';
        }
        at += length > 0 ? length : 1;
    }
    *text = '\0';
}

const char *ms_text_word(const char *at, size_t *length) {
    static const char separators[] = ", \t";
    *length = 0;
    if (at == NULL)
        return NULL;
    at += strspn(at, separators);
    *length = strcspn(at, separators);
    return *length > 0 ? at : NULL;
}
