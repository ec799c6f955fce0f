/* See clients.h. A hash table; its seed keeps clients from choosing addresses that collide. */
#include "clients.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "msaas/networks.h"

void ms_clients_init(struct ms_clients *clients) {
    (void)!getrandom(&clients->seed, sizeof clients->seed, GRND_NONBLOCK);
}

static struct ms_client **bucket_of(struct ms_clients *clients, const uint8_t key[16]) {
    uint64_t hash = clients->seed;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ key[i]) * UINT64_C(0x9e3779b97f4a7c15);
    return &clients->buckets[hash >> 54];
}

struct ms_client *ms_clients_enter(struct ms_clients *clients, const uint8_t ip[16]) {
    uint8_t key[16];
    memcpy(key, ip, sizeof key);
    if (!ms_ip_is_v4(ip))
        memset(key + 8, 0, 8);
    struct ms_client **bucket = bucket_of(clients, key), *client = *bucket;
    while (client != NULL && memcmp(client->key, key, sizeof key) != 0)
        client = client->next;
    if (client == NULL) {
        client = calloc(1, sizeof *client);
        if (client == NULL)
            return NULL;
        memcpy(client->key, key, sizeof key);
        TAILQ_INIT(&client->idle);
        client->next = *bucket;
        *bucket = client;
    }
    client->count++;
    return client;
}

void ms_clients_leave(struct ms_clients *clients, struct ms_client *client) {
    if (client == NULL || --client->count > 0)
        return;
    struct ms_client **at = bucket_of(clients, client->key);
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    free(client);
}
