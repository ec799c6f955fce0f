/* The state of the API, and its links: connections to queue and store for one thread. A handler
 * borrows a link and gives it back. */
#ifndef MSAAS_API_LINK_H
#define MSAAS_API_LINK_H

#include <pthread.h>
#include <stdbool.h>

#include "msaas/api.h"
#include "msaas/queue.h"
#include "msaas/render.h"
#include "msaas/store.h"
#include "reply.h"
#include "waiting.h"

#define MS_API_ROUTES 64

struct ms_api_link { /* connections to queue and store, for one thread */
    struct ms_queue *queue;
    struct ms_store *store;
    struct ms_api_link *next;
};

#define MS_API_LOOKS 256
struct ms_api_look { /* the stems of a job were there; good until then */
    char id[MS_JOB_ID_HEX];
    double until_s;
};

struct ms_api {
    struct ms_api_options options;
    struct ms_http_route routes[MS_API_ROUTES]; /* ended by a NULL method */
    unsigned scopes[MS_API_ROUTES];             /* of the accounts that may ask for each */
    atomic_bool draining;
    /* the warning of a queue that may lose jobs */
    atomic_bool warned;
    atomic_bool full;     /* a disk had too little space when it was last looked at */
    atomic_int listeners; /* to events */

    pthread_mutex_t lock;
    struct ms_api_link *idle;
    bool probing; /* one probe at a time; its last result: */
    bool ready;
    struct ms_problem unready;
    double waiting_at_s; /* when `waiting` was looked up; 0: never */
    int64_t waiting;
    bool looking;        /* for the stems of a job (expiry.c), one at a time */
    double look_again_s; /* not before: the store did not answer */
    struct ms_api_look looks[MS_API_LOOKS];

    struct ms_waiting_lists lists;
    struct ms_renders *renders;
    atomic_int made_files; /* stem files that are made or sent */
};

struct ms_api_link *ms_api_borrow(struct ms_api *api,
                                  struct ms_problem *problem); /* NULL: problem */
void ms_api_give_back(struct ms_api *api, struct ms_api_link *link);

MS_MUST_CHECK int ms_api_open_link(const struct ms_api *api, struct ms_api_link **out,
                                   struct ms_error *err);
void ms_api_close_links(struct ms_api *api); /* the links that are not borrowed */

#endif
