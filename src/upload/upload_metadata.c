/* Upload-Metadata of tus: pairs of a key and a value in base64, by commas. Pure; any thread. */
#include <stdlib.h>
#include <string.h>

#include "msaas/base64.h"
#include "msaas/upload.h"

/* Of the key at `at`, the bytes of printable ASCII; the store keeps no others as they were sent. */
static size_t key_bytes(const char *at) {
    size_t size = 0;
    while (at[size] > ' ' && at[size] < 0x7f && at[size] != ',')
        size++;
    return size;
}

/* Decodes the value of the pair at `at`. False: it is malformed. *value NULL: it has none. */
static bool read_value(const char *at, size_t key, size_t pair, char **value, size_t *size) {
    struct ms_error err = {0};
    *value = NULL;
    *size = 0;
    if (key == pair)
        return true;
    *value = strndup(at + key + 1, pair - key - 1);
    const bool good = *value != NULL && strpbrk(*value, "\r\n") == NULL &&
                      ms_base64_decode(*value, strlen(*value), pair, size, &err) == 0;
    if (!good) {
        free(*value);
        *value = NULL;
    }
    return good;
}

bool ms_upload_metadata_read(const char *text, const char *key, char *out, size_t capacity) {
    out[0] = '\0';
    for (const char *at = text; *at != '\0';) {
        const size_t pair = strcspn(at, ",");
        size_t word = key_bytes(at), size;
        char *value;
        if (word == 0 || strchr(" ,", at[word]) == NULL ||
            !read_value(at, word, pair, &value, &size))
            return false;
        if (value != NULL && strlen(key) == word && strncmp(at, key, word) == 0 &&
            size < capacity && memchr(value, '\0', size) == NULL) {
            memcpy(out, value, size);
            out[size] = '\0';
        }
        free(value);
        at += pair;
        if (*at == ',') {
            at++;
            at += strspn(at, " ");
            if (*at == '\0')
                return false;
        }
    }
    return true;
}
