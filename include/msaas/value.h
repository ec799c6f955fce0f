/* Values as people write them in options, queries and forms: the same rules everywhere. Errors are
 * MS_EUSAGE with a text that says what would be right, "must be from 0 to 20, not 50"; the caller
 * puts the name of the value before it. After an error *out is unchanged. Pure; any thread. */
#ifndef MSAAS_VALUE_H
#define MSAAS_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

/* Decimal digits with or without a sign. The limits are included. */
MS_MUST_CHECK int ms_value_int(const char *text, int64_t least, int64_t most, int64_t *out,
                               struct ms_error *err);
/* A decimal number with or without an exponent ("2.5e-1"); not hexadecimal, infinity or NaN. */
MS_MUST_CHECK int ms_value_real(const char *text, double least, double most, double *out,
                                struct ms_error *err);
/* A time in seconds, written with its unit: "90s", "30m", "72h", "7d". */
MS_MUST_CHECK int ms_value_time(const char *text, double least_s, double most_s, double *out_s,
                                struct ms_error *err);
/* *out: which of "a|b|c" the text is, from 0. */
MS_MUST_CHECK int ms_value_choice(const char *text, const char *choices, int *out,
                                  struct ms_error *err);
/* Copies number `index` of "a|b|c" to out; "" if there are fewer. */
void ms_value_of_choice(const char *choices, int index, char *out, size_t capacity);

/* Checks a number that need not be parsed, such as one from JSON. */
MS_MUST_CHECK int ms_value_check_range(double value, double least, double most,
                                       struct ms_error *err);

#endif
