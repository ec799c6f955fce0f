/* Base64: the form of songs in /apiv1, 20 MB and more. Written here because the song is decoded in
 * place and strictly: OpenSSL's EVP_DecodeUpdate takes "-" for the end of the text, accepts bits
 * that should be 0, and needs a second buffer. Owns nothing; any thread. */
#include "msaas/base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *ms_base64_encode(const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    if (size / 3 > (SIZE_MAX - 5) / 4)
        return NULL;
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    char *to = text;
    for (; size >= 3; size -= 3, from += 3) {
        uint32_t group = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = alphabet[group >> 6 & 63];
        *to++ = alphabet[group & 63];
    }
    if (size > 0) {
        uint32_t group = (uint32_t)from[0] << 16 | (size == 2 ? (uint32_t)from[1] << 8 : 0);
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = '=';
        if (size == 2)
            to[-1] = alphabet[group >> 6 & 63];
        *to++ = '=';
    }
    *to = '\0';
    return text;
}

enum { OTHER = 255 }; /* not a digit */

static void make_table(unsigned char table[256]) {
    memset(table, OTHER, 256);
    for (unsigned char i = 0; i < 64; i++)
        table[(unsigned char)alphabet[i]] = i;
}

int ms_base64_decode(char *text, size_t size, size_t max_bytes, size_t *out_size,
                     struct ms_error *err) {
    unsigned char table[256];
    size_t at = 0, padding = 0, filled = 0, done = 0;
    unsigned char *bytes =
        (unsigned char *)text; /* bytes are written behind the reader: done < at */
    make_table(table);
    unsigned char group[4];
    while (at < size) {
        /* The fast path: whole groups of four digits in a row. */
        while (filled == 0 && padding == 0 && size - at >= 4 && done <= max_bytes) {
            const unsigned char *four = (const unsigned char *)text + at;
            unsigned char a = table[four[0]], b = table[four[1]], c = table[four[2]],
                          d = table[four[3]];
            if (((a | b | c | d) & 0xc0) != 0)
                break;
            bytes[done] = (unsigned char)(a << 2 | b >> 4);
            bytes[done + 1] = (unsigned char)(b << 4 | c >> 2);
            bytes[done + 2] = (unsigned char)(c << 6 | d);
            done += 3;
            at += 4;
        }
        if (done > max_bytes)
            return ms_error_set(err, MS_ETOOLARGE, "base64: more than %zu bytes", max_bytes);
        if (at == size)
            break;
        unsigned char byte = (unsigned char)text[at];
        if (byte == '\r' || byte == '\n') {
            at++;
            continue;
        }
        unsigned char digit = table[byte];
        if (byte == '=' && filled + padding < 4 && filled >= 2) {
            padding++;
        } else if (digit != OTHER && padding == 0) {
            group[filled++] = digit;
        } else {
            return ms_error_set(err, MS_EINPUT, "base64: bad character at offset %zu", at);
        }
        at++;
        if (filled + padding < 4)
            continue;
        if ((padding == 1 && (group[2] & 3) != 0) || (padding == 2 && (group[1] & 15) != 0))
            return ms_error_set(err, MS_EINPUT, "base64: unused bits are set before offset %zu",
                                at);
        if (done + 3 - padding > max_bytes)
            return ms_error_set(err, MS_ETOOLARGE, "base64: more than %zu bytes", max_bytes);
        bytes[done++] = (unsigned char)(group[0] << 2 | group[1] >> 4);
        if (padding < 2)
            bytes[done++] = (unsigned char)(group[1] << 4 | group[2] >> 2);
        if (padding < 1)
            bytes[done++] = (unsigned char)(group[2] << 6 | group[3]);
        else
            continue; /* after padding, only line breaks may follow */
        filled = 0;
    }
    if (filled > 0 && filled + padding < 4)
        return ms_error_set(err, MS_EINPUT, "base64: it ends within a group of four");
    *out_size = done;
    return 0;
}
