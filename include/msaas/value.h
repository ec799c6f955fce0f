/* Values as people write them, in options, queries and forms. One rule for every door. Errors are
 * MS_EUSAGE with a text that says what would be right, "must be from 0 to 20, not 50": the caller
 * puts the name of the value before it. On an error *out stays as it was. Pure; any thread. */
#ifndef MSAAS_VALUE_H
#define MSAAS_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

/* Decimal digits, with a sign before them or not. Limits are included. */
MS_MUST_CHECK int ms_value_int(const char *text, int64_t least, int64_t most, int64_t *out,
                               struct ms_error *err);
/* Decimal, with an exponent or not ("2.5e-1"): neither hexadecimal, infinity nor NaN. */
MS_MUST_CHECK int ms_value_real(const char *text, double least, double most, double *out,
                                struct ms_error *err);
/* Which of "a|b|c" it is, from 0. */
MS_MUST_CHECK int ms_value_choice(const char *text, const char *choices, int *out,
                                  struct ms_error *err);
/* Number `index` of "a|b|c", copied; "" where there are not so many. */
void ms_value_of_choice(const char *choices, int index, char *out, size_t capacity);

/* The same limits for numbers that come as numbers. */
MS_MUST_CHECK int ms_value_check_range(double value, double least, double most,
                                       struct ms_error *err);

#endif
