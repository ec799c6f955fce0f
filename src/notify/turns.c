/* Whose turn it is. Owns what is known of the origins that were called last; a pace that was
 * forgotten is found again. */
#include "msaas/turns.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_BYTES 300
#define LEAST_S 0.02
#define MOST_S 60.0
#define REMEMBERED 64 /* origins that nobody calls now */

struct origin {
    char name[ORIGIN_BYTES];
    bool busy;
    double begun_s; /* the last time somebody called it */
    double pace_s;  /* how long that took */
    double last_s;  /* when the last of those who wait comes again */
};

struct ms_turns {
    int count;
    struct origin origins[];
};

struct ms_turns *ms_turns_new(int most) {
    const size_t count = (size_t)most + REMEMBERED;
    struct ms_turns *turns = calloc(1, sizeof *turns + count * sizeof(struct origin));
    if (turns != NULL)
        turns->count = (int)count;
    return turns;
}

void ms_turns_free(struct ms_turns *turns) {
    free(turns);
}

static struct origin *find(struct ms_turns *turns, const char *name) {
    for (int i = 0; i < turns->count; i++)
        if (strncmp(turns->origins[i].name, name, ORIGIN_BYTES - 1) == 0)
            return &turns->origins[i];
    return NULL;
}

int64_t ms_turns_wait_ms(struct ms_turns *turns, const char *origin, double now_s) {
    struct origin *o = find(turns, origin);
    if (o == NULL || !o->busy)
        return 0;
    o->last_s = fmin(fmax(o->last_s, now_s) + o->pace_s, now_s + MOST_S);
    return (int64_t)ceil((o->last_s - now_s) * 1000);
}

void ms_turns_begin(struct ms_turns *turns, const char *origin, double now_s) {
    struct origin *o = find(turns, origin);
    if (o == NULL) { /* instead of the one that was called the longest ago */
        for (int i = 0; i < turns->count; i++)
            if (!turns->origins[i].busy && (o == NULL || turns->origins[i].begun_s < o->begun_s))
                o = &turns->origins[i];
        if (o == NULL)
            return;
        *o = (struct origin){.pace_s = LEAST_S};
        (void)snprintf(o->name, sizeof o->name, "%s", origin);
    }
    o->busy = true;
    o->begun_s = now_s;
}

void ms_turns_end(struct ms_turns *turns, const char *origin, double now_s) {
    struct origin *o = find(turns, origin);
    if (o == NULL)
        return;
    o->busy = false;
    o->pace_s = fmin(fmax(now_s - o->begun_s, LEAST_S), MOST_S);
}
