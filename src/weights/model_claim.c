/* The claim of model_store.h: an object that its holder writes anew all the time. Waiting processes
 * watch it change by their own clocks, so that the machines' clocks need not agree. Owns the
 * holder's thread and its store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msaas/job.h"
#include "msaas/model_store.h"
#include "msaas/sys.h"
#include "msaas/thread.h"

#define PATIENCE_S 60.0
#define LOOK_S 0.5

struct ms_model_claim {
    struct ms_store *store;
    char *key;
    const atomic_bool *cancel;
    double patience_s;
    long number; /* of the next version */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;
    bool ending;
};

static int write_version(struct ms_model_claim *claim, bool exclusive, struct ms_error *err) {
    char host[100] = "", text[160]; /* for people, and never the same twice */
    (void)gethostname(host, sizeof host - 1);
    const int size = snprintf(text, sizeof text, "%s, process %ld, %ld\n", host, (long)getpid(),
                              claim->number++);
    const struct ms_object_source source = {
        .bytes = text, .size = size, .exclusive = exclusive, .content_type = "text/plain"};
    return ms_store_put(claim->store, MS_BUCKET_SONGS, claim->key, &source, NULL, err);
}

/* ---- taking it ---- */

/* Waits until the claim of another is gone, or has stood still and was removed. */
static int outlast(struct ms_model_claim *claim, struct ms_error *err) {
    const struct timespec nap = {.tv_nsec = (long)(LOOK_S * 1e9)};
    struct ms_object_info seen = {0}, now;
    double since_s = ms_monotonic_s();
    for (;;) {
        int rc = ms_store_head(claim->store, MS_BUCKET_SONGS, claim->key, &now, err);
        if (rc != 0)
            return rc == MS_ENOTFOUND ? 0 : rc;
        if (strcmp(seen.etag, now.etag) != 0 || seen.modified_ms != now.modified_ms) {
            seen = now;
            since_s = ms_monotonic_s();
        }
        if (ms_monotonic_s() - since_s > claim->patience_s)
            return ms_store_remove(claim->store, MS_BUCKET_SONGS, claim->key, err);
        if (claim->cancel != NULL && atomic_load(claim->cancel))
            return ms_error_set(err, MS_ECANCELED, "canceled");
        (void)nanosleep(&nap, NULL);
    }
}

static int take(struct ms_model_claim *claim, void (*wait)(void), struct ms_error *err) {
    for (;;) {
        int rc = write_version(claim, true, err);
        if (rc != MS_ECONFLICT)
            return rc;
        if (wait != NULL)
            wait();
        wait = NULL;
        rc = outlast(claim, err);
        if (rc != 0)
            return rc;
    }
}

/* ---- holding it ---- */

static void *renew(void *user) {
    struct ms_model_claim *claim = user;
    (void)pthread_mutex_lock(&claim->lock);
    while (!claim->ending) {
        const double next_s = ms_monotonic_s() + claim->patience_s / 6;
        while (!claim->ending && ms_cond_wait_until(&claim->wake, &claim->lock, next_s))
            continue;
        if (claim->ending)
            break;
        (void)pthread_mutex_unlock(&claim->lock);
        /* A store that fails is noticed by whoever puts the model there. */
        const int rc = write_version(claim, false, NULL);
        (void)rc;
        (void)pthread_mutex_lock(&claim->lock);
    }
    (void)pthread_mutex_unlock(&claim->lock);
    return NULL;
}

int ms_model_claim_take(const struct ms_model_claim_options *options, struct ms_model_claim **out,
                        struct ms_error *err) {
    struct ms_model_claim *claim = calloc(1, sizeof *claim);
    *out = NULL;
    if (claim == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a claim");
    (void)pthread_mutex_init(&claim->lock, NULL);
    (void)ms_cond_init(&claim->wake);
    claim->cancel = options->store->cancel;
    claim->patience_s = options->patience_s > 0 ? options->patience_s : PATIENCE_S;
    claim->key = ms_strdupf("models/%s.claim", options->name);
    /* Who was asked to stop still ends the claim, within a short time. */
    struct ms_store_options store = *options->store;
    store.cancel = NULL;
    store.attempts = 2;
    int rc = claim->key != NULL ? ms_store_open(&store, &claim->store, err)
                                : ms_error_set(err, MS_ENOMEM, "no memory for a claim");
    bool taken = false;
    if (rc == 0) {
        rc = take(claim, options->wait, err);
        taken = rc == 0;
    }
    if (rc == 0) {
        claim->has_thread = ms_thread_start(&claim->thread, 0, renew, claim) == 0;
        if (!claim->has_thread)
            rc = ms_error_set(err, MS_ENOMEM, "no thread for a claim");
    }
    if (rc == 0) {
        *out = claim;
        return 0;
    }
    if (!taken && claim->store != NULL) { /* not ours to end */
        ms_store_close(claim->store);
        claim->store = NULL;
    }
    ms_model_claim_release(claim);
    return rc;
}

void ms_model_claim_release(struct ms_model_claim *claim) {
    if (claim == NULL)
        return;
    if (claim->has_thread) {
        (void)pthread_mutex_lock(&claim->lock);
        claim->ending = true;
        (void)pthread_cond_signal(&claim->wake);
        (void)pthread_mutex_unlock(&claim->lock);
        (void)pthread_join(claim->thread, NULL);
    }
    if (claim->store != NULL) {
        const int rc = ms_store_remove(claim->store, MS_BUCKET_SONGS, claim->key, NULL);
        (void)rc; /* it stands still from now on */
        ms_store_close(claim->store);
    }
    (void)pthread_mutex_destroy(&claim->lock);
    (void)pthread_cond_destroy(&claim->wake);
    free(claim->key);
    free(claim);
}
