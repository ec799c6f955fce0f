/* See value.h. */
#include "msaas/value.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How much of a wrong value an error repeats. */
#define SHOWN "%.60s"

int ms_value_check_range(double value, double least, double most, struct ms_error *err) {
    if (value >= least && value <= most)
        return 0;
    return ms_error_set(err, MS_EUSAGE, "must be from %.16g to %.16g, not %.16g", least, most,
                        value);
}

int ms_value_int(const char *text, int64_t least, int64_t most, int64_t *out,
                 struct ms_error *err) {
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || text[strspn(text, "+-0123456789")] != '\0')
        return ms_error_set(err, MS_EUSAGE, "must be a whole number, not \"" SHOWN "\"", text);
    if (errno == ERANGE || value < least || value > most)
        return ms_error_set(err, MS_EUSAGE, "must be from %lld to %lld, not " SHOWN,
                            (long long)least, (long long)most, text);
    *out = value;
    return 0;
}

int ms_value_real(const char *text, double least, double most, double *out, struct ms_error *err) {
    char *end = NULL;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || text[strspn(text, "+-.0123456789eE")] != '\0')
        return ms_error_set(err, MS_EUSAGE, "must be a number, not \"" SHOWN "\"", text);
    if (!(value >= least && value <= most))
        return ms_error_set(err, MS_EUSAGE, "must be from %.16g to %.16g, not " SHOWN, least, most,
                            text);
    *out = value;
    return 0;
}

int ms_value_time(const char *text, double least_s, double most_s, double *out_s,
                  struct ms_error *err) {
    static const char units[] = "smhd";
    static const double seconds[] = {1, 60, 3600, 86400};
    char *end = NULL;
    const double number = strtod(text, &end);
    const char *unit = *end != '\0' && end[1] == '\0' ? strchr(units, *end) : NULL;
    if (end == text || unit == NULL || strspn(text, ".0123456789") != (size_t)(end - text))
        return ms_error_set(err, MS_EUSAGE,
                            "must be a time such as 90s, 30m, 72h or 7d, not \"" SHOWN "\"", text);
    const double value_s = number * seconds[unit - units];
    if (!(value_s >= least_s && value_s <= most_s))
        return ms_error_set(err, MS_EUSAGE, "must be from %.16gs to %.16gd, not " SHOWN, least_s,
                            most_s / 86400, text);
    *out_s = value_s;
    return 0;
}

/* The length of the choice at `at`; *next: where the next one begins, or the end. */
static size_t choice_length(const char *at, const char **next) {
    const size_t length = strcspn(at, "|");
    *next = at + length + (at[length] == '|');
    return length;
}

int ms_value_choice(const char *text, const char *choices, int *out, struct ms_error *err) {
    const char *next = choices;
    for (int i = 0; *next != '\0'; i++) {
        const char *at = next;
        const size_t length = choice_length(at, &next);
        if (strlen(text) == length && strncmp(at, text, length) == 0) {
            *out = i;
            return 0;
        }
    }
    return ms_error_set(err, MS_EUSAGE, "must be one of %s, not \"" SHOWN "\"", choices, text);
}

void ms_value_of_choice(const char *choices, int index, char *out, size_t capacity) {
    const char *next = choices;
    out[0] = '\0';
    for (int i = 0; *next != '\0'; i++) {
        const char *at = next;
        const size_t length = choice_length(at, &next);
        if (i == index)
            (void)snprintf(out, capacity, "%.*s", (int)length, at);
    }
}
