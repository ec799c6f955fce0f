/* Keeps what a test asked and got, as test/tools/recorder.py does, in $E2E_EXCHANGES. */
#ifndef MSAAS_TEST_API_EXCHANGE_H
#define MSAAS_TEST_API_EXCHANGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msaas/json.h"
#include "msaas/sys.h"

/* The names of "Name: value\r\n" lines, with their values (an object) or without (an array). */
static inline void put_headers(struct ms_json_writer *w, const char *lines, bool with_values) {
    char name[64], value[1024];
    for (const char *at = lines; *at != '\0' && *at != '\r';) {
        const size_t line = strcspn(at, "\r"), colon = strcspn(at, ":\r");
        (void)snprintf(name, sizeof name, "%.*s", (int)colon, at);
        (void)snprintf(value, sizeof value, "%.*s", line > colon + 2 ? (int)(line - colon - 2) : 0,
                       at + colon + 2);
        if (with_values)
            ms_json_put_string(w, name, value);
        else
            ms_json_put_string(w, NULL, name);
        at += line + strspn(at + line, "\r") + 1;
    }
}

static inline void put_query(struct ms_json_writer *w, const char *path) {
    char name[64];
    const char *at = strchr(path, '?');
    for (; at != NULL && at[1] != '\0'; at = strchr(at + 1, '&')) {
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at + 1, "=&"), at + 1);
        ms_json_put_string(w, NULL, name);
    }
}

/* answer: all of it; text: its body, where it is text, else NULL; type: its Content-Type. */
static inline void keep_exchange(const char *method, const char *path, const char *headers,
                                 const char *answer, const char *type, const char *text) {
    const char *folder = getenv("E2E_EXCHANGES");
    struct ms_json_writer *w = folder != NULL ? ms_json_writer_new() : NULL;
    const char *head = strstr(answer, "\r\n");
    if (w == NULL || head == NULL)
        return;
    char *file = ms_strdupf("%s/unit-%d.jsonl", folder, (int)getpid());
    char *plain = strndup(path, strcspn(path, "?"));
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "test", "test/unit/test_api*.c");
    ms_json_put_string(w, "method", method);
    ms_json_put_string(w, "path", plain);
    ms_json_begin_array(w, "query");
    put_query(w, path);
    ms_json_end_array(w);
    ms_json_begin_array(w, "headers");
    put_headers(w, headers, false);
    ms_json_end_array(w);
    ms_json_put_int(w, "status", strtol(answer + strlen("HTTP/1.1 "), NULL, 10));
    ms_json_put_string(w, "type", type);
    ms_json_begin_object(w, "answer");
    put_headers(w, head + 2, true);
    ms_json_end_object(w);
    ms_json_put_string(w, "body", text);
    ms_json_end_object(w);
    FILE *out = file != NULL ? fopen(file, "a") : NULL;
    if (out != NULL) {
        (void)fprintf(out, "%s\n", ms_json_writer_text(w, NULL));
        (void)fclose(out);
    }
    ms_json_writer_free(w);
    free(file);
    free(plain);
}

#endif
