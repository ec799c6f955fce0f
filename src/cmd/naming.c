/* Template and values -> the name of a result. Owns nothing; any thread. */
#include "naming.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *value_of(const struct ms_naming *values, const char *name, size_t length) {
    const struct {
        const char *name, *value;
    } known[] = {
        {"model", values->model}, {"track", values->track}, {"trackext", values->trackext},
        {"stem", values->stem},   {"ext", values->ext},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && strncmp(known[i].name, name, length) == 0)
            return known[i].value;
    return NULL;
}

/* Writes the expansion; faults of the template only. */
static int expand(const char *template, const struct ms_naming *values, FILE *to,
                  struct ms_error *err) {
    for (const char *at = template; *at != '\0'; at++) {
        if (*at != '{') {
            (void)fputc(*at, to);
            continue;
        }
        size_t length = strcspn(++at, "}");
        if (at[length] == '\0')
            return ms_error_set(err, MS_EUSAGE, "\"%s\" opens a { that nothing closes", template);
        const char *value = value_of(values, at, length);
        if (value == NULL)
            return ms_error_set(err, MS_EUSAGE,
                                "\"%s\" holds {%.*s}, but there are {model}, {track}, {trackext}, "
                                "{stem} and {ext} only",
                                template, (int)length, at);
        (void)fputs(value, to);
        at += length;
    }
    return 0;
}

static int check_parts(const char *path, struct ms_error *err) {
    for (const char *part = path;; part++) {
        size_t length = strcspn(part, "/");
        if (length == 0)
            return ms_error_set(err, MS_EUSAGE, "\"%s\" has an empty part", path);
        if (strspn(part, ".") == length && length <= 2)
            return ms_error_set(err, MS_EUSAGE, "\"%s\" has \"%.*s\" as a part", path, (int)length,
                                part);
        part += length;
        if (*part == '\0')
            return 0;
    }
}

int ms_naming_expand(const char *template, const struct ms_naming *values, char **out,
                     struct ms_error *err) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    int rc = to == NULL ? 0 : expand(template, values, to, err);
    if (to == NULL || fclose(to) != 0)
        rc = ms_error_set(err, MS_ENOMEM, "no memory for the name of a file");
    if (rc == 0)
        rc = check_parts(text, err);
    if (rc == 0)
        *out = text;
    else
        free(text);
    return rc;
}
