/* See redis_refusals.h. */
#include "redis_refusals.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "msaas/err.h"

#define CREDENTIALS "put the user and the password of Redis into the queue's URL"
#define PERMISSIONS                                                                                \
    "let its user run all commands on the keys msaas:*, toWorker and logging (ACL SETUSER)"
#define ONE_SERVER "use one Redis, with replicas if you like, and no Redis Cluster"
#define SERVER_PASSWORD "Redis has no password: take it out of the queue's URL or set requirepass"

static const struct refusal {
    const char *prefix;
    int code;
    const char *remedy;
} refusals[] = {
    /* An outage that passes: the same command may succeed later. */
    {"LOADING", MS_ENET, NULL},
    {"BUSY", MS_ENET, NULL},
    {"TRYAGAIN", MS_ENET, NULL},
    {"MASTERDOWN", MS_ENET, NULL},
    {"CLUSTERDOWN", MS_ENET, NULL},
    {"READONLY", MS_ENET, NULL}, /* another server has its name after a failover */
    {"NOREPLICAS", MS_ENET, "bring its replicas back, or lower min-replicas-to-write"},
    {"OOM", MS_ENET, "raise maxmemory"},
    {"MISCONF", MS_ENET, "make room on its disk; its log says what fails"},
    {"ERR max number of clients", MS_ENET, "raise maxclients, or start fewer processes"},

    /* A configuration that is wrong until somebody mends it. */
    {"NOAUTH", MS_EDENIED, CREDENTIALS},
    {"ERR Protocol error: unauthenticated", MS_EDENIED, CREDENTIALS}, /* NOAUTH of the long */
    {"WRONGPASS", MS_EDENIED, CREDENTIALS},
    {"ERR invalid password", MS_EDENIED, CREDENTIALS},
    {"ERR AUTH", MS_EDENIED, SERVER_PASSWORD},
    {"ERR Client sent AUTH", MS_EDENIED, SERVER_PASSWORD},
    {"NOPERM", MS_EDENIED, PERMISSIONS},
    {"ERR The user executing the script", MS_EDENIED, PERMISSIONS}, /* before Redis 7.2 */
    {"DENIED", MS_EDENIED, "set requirepass and put the password into the queue's URL"},
    {"ERR DB index is out of range", MS_EDENIED, "name a database that Redis has in the URL"},
    {"ERR SELECT is not allowed", MS_EDENIED, ONE_SERVER},
    {"MOVED", MS_EDENIED, ONE_SERVER},
    {"CROSSSLOT", MS_EDENIED, ONE_SERVER},

    {"WRONGTYPE", MS_ECORRUPT, NULL},
};

/* Redis 6 puts the errors of a script's commands behind words of its own. */
static bool says(const char *reply, const char *prefix) {
    static const char of_script[] = "ERR Error running script";
    if (strncmp(reply, of_script, sizeof of_script - 1) != 0)
        return strncmp(reply, prefix, strlen(prefix)) == 0;
    const char *bare = strncmp(prefix, "ERR ", 4) == 0 ? prefix + 4 : prefix;
    const char *at = strstr(reply, bare);
    return at != NULL && (at[-1] == ' ' || at[-1] == '-');
}

int ms_redis_refusal(const char *reply, const char **remedy) {
    *remedy = NULL;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (!says(reply, refusals[i].prefix))
            continue;
        *remedy = refusals[i].remedy;
        return refusals[i].code;
    }
    return MS_EINTERNAL;
}
