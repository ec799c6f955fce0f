/* See link.h. Owns the links that no handler has borrowed. There are never more links than twice
 * the threads that the pools of the server have: whoever copies an upload has two. */
#include "link.h"

#include <stdlib.h>

static void close_link(struct ms_api_link *link) {
    ms_queue_close(link->queue);
    ms_store_close(link->store);
    free(link);
}

int ms_api_open_link(const struct ms_api *api, struct ms_api_link **out, struct ms_error *err) {
    struct ms_api_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a connection");
    int rc = ms_queue_open(api->options.queue_url, &link->queue, err);
    if (rc == 0)
        ms_queue_use_course_items(link->queue, api->options.course_items);
    if (rc == 0)
        rc = ms_store_open(&api->options.store, &link->store, err);
    if (rc != 0) {
        close_link(link);
        return rc;
    }
    *out = link;
    return 0;
}

struct ms_api_link *ms_api_borrow(struct ms_api *api, struct ms_problem *problem) {
    struct ms_error err = {0};
    (void)pthread_mutex_lock(&api->lock);
    struct ms_api_link *link = api->idle;
    if (link != NULL)
        api->idle = link->next;
    (void)pthread_mutex_unlock(&api->lock);
    if (link == NULL && ms_api_open_link(api, &link, &err) != 0) {
        (void)ms_problem_of_queue(problem, &err);
        return NULL;
    }
    return link;
}

void ms_api_give_back(struct ms_api *api, struct ms_api_link *link) {
    if (link == NULL)
        return;
    (void)pthread_mutex_lock(&api->lock);
    link->next = api->idle;
    api->idle = link;
    (void)pthread_mutex_unlock(&api->lock);
}

void ms_api_close_links(struct ms_api *api) {
    while (api->idle != NULL) {
        struct ms_api_link *link = api->idle;
        api->idle = link->next;
        close_link(link);
    }
}
