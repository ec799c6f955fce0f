/* Whose turn it is. Owns what is known of the hosts that were called last; a pace that was
 * forgotten is found again. */
#include "msaas/turns.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST_BYTES 256
#define LEAST_S 0.02
#define MOST_S 60.0
#define REMEMBERED 64 /* hosts that nobody calls now */

struct host {
    char name[HOST_BYTES];
    bool busy;
    double begun_s; /* the last time somebody called it */
    double pace_s;  /* how long that took */
    double last_s;  /* when the last of those who wait comes again */
};

struct ms_turns {
    int count;
    struct host hosts[];
};

struct ms_turns *ms_turns_new(int most) {
    const size_t count = (size_t)most + REMEMBERED;
    struct ms_turns *turns = calloc(1, sizeof *turns + count * sizeof(struct host));
    if (turns != NULL)
        turns->count = (int)count;
    return turns;
}

void ms_turns_free(struct ms_turns *turns) {
    free(turns);
}

static struct host *find(struct ms_turns *turns, const char *name) {
    for (int i = 0; i < turns->count; i++)
        if (strncmp(turns->hosts[i].name, name, HOST_BYTES - 1) == 0)
            return &turns->hosts[i];
    return NULL;
}

int64_t ms_turns_wait_ms(struct ms_turns *turns, const char *host, double now_s) {
    struct host *h = find(turns, host);
    if (h == NULL || !h->busy)
        return 0;
    h->last_s = fmin(fmax(h->last_s, now_s) + h->pace_s, now_s + MOST_S);
    return (int64_t)ceil((h->last_s - now_s) * 1000);
}

void ms_turns_begin(struct ms_turns *turns, const char *host, double now_s) {
    struct host *h = find(turns, host);
    if (h == NULL) { /* instead of the one that was called the longest ago */
        for (int i = 0; i < turns->count; i++)
            if (!turns->hosts[i].busy && (h == NULL || turns->hosts[i].begun_s < h->begun_s))
                h = &turns->hosts[i];
        if (h == NULL)
            return;
        *h = (struct host){.pace_s = LEAST_S};
        (void)snprintf(h->name, sizeof h->name, "%s", host);
    }
    h->busy = true;
    h->begun_s = now_s;
}

void ms_turns_end(struct ms_turns *turns, const char *host, double now_s) {
    struct host *h = find(turns, host);
    if (h == NULL)
        return;
    h->busy = false;
    h->pace_s = fmin(fmax(now_s - h->begun_s, LEAST_S), MOST_S);
}
