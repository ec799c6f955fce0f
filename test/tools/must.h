/* For helpers of tests: what must hold, on whatever thread. assert() says nothing where NDEBUG is
 * defined, and cmocka's leave the test, which only the test's own thread can. */
#ifndef MSAAS_TEST_MUST_H
#define MSAAS_TEST_MUST_H

#include <stdio.h>
#include <stdlib.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
