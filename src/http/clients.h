/* The clients that are connected, by address, to limit how much each may hold. The loop's.
 *
 * An IPv4 address is a client, and so is a /64 of IPv6, because one host has all of it. */
#ifndef MSAAS_HTTP_CLIENTS_H
#define MSAAS_HTTP_CLIENTS_H

#include <stdint.h>
#include <sys/queue.h>

struct ms_connection;
TAILQ_HEAD(ms_idle_list, ms_connection);

struct ms_client {
    struct ms_client *next;
    uint8_t key[16];
    /* its connections, and its requests at work whose connection is gone; of clients behind a
     * proxy, its requests at work */
    int count;
    /* of its connections those on which nothing is asked, longest first */
    struct ms_idle_list idle;
};

struct ms_clients {
    uint64_t seed;
    struct ms_client *buckets[1024];
};

void ms_clients_init(struct ms_clients *clients);
/* Counts one more of this address. NULL: no memory. */
struct ms_client *ms_clients_enter(struct ms_clients *clients, const uint8_t ip[16]);
/* Counts one less; the last one frees the client. Accepts NULL. */
void ms_clients_leave(struct ms_clients *clients, struct ms_client *client);

#endif
