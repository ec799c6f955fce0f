/* What Redis refuses: it passes, or the message says what to mend. See queue_contract.h. */
#include "queue_contract.h"

#include "redis_refusals.h"

void each_refusal_passes_or_says_the_remedy(void **state) {
    static const struct {
        const char *reply;
        int code;
        const char *remedy; /* a part of it; NULL: there is none */
    } cases[] = {
        {"LOADING Redis is loading the dataset in memory", MS_ENET, NULL},
        {"BUSY Redis is busy running a script. You can only call SCRIPT KILL", MS_ENET, NULL},
        {"TRYAGAIN Multiple keys request during rehashing of slot", MS_ENET, NULL},
        {"MASTERDOWN Link with MASTER is down", MS_ENET, NULL},
        {"CLUSTERDOWN The cluster is down", MS_ENET, NULL},
        {"READONLY You can't write against a read only replica.", MS_ENET, NULL},
        {"NOREPLICAS Not enough good replicas to write.", MS_ENET, "min-replicas-to-write"},
        {"OOM command not allowed when used memory > 'maxmemory'.", MS_ENET, "maxmemory"},
        {"MISCONF Redis is configured to save RDB snapshots", MS_ENET, "disk"},
        {"ERR max number of clients reached", MS_ENET, "maxclients"},
        {"ERR max number of clients + cluster connections reached", MS_ENET, "maxclients"},
        {"NOAUTH Authentication required.", MS_EDENIED, "password"},
        {"ERR Protocol error: unauthenticated multibulk length", MS_EDENIED, "password"},
        {"ERR Protocol error: unauthenticated bulk length", MS_EDENIED, "password"},
        {"WRONGPASS invalid username-password pair or user is disabled.", MS_EDENIED, "password"},
        {"ERR invalid password", MS_EDENIED, "password"},
        {"ERR AUTH <password> called without any password configured", MS_EDENIED, "requirepass"},
        {"ERR Client sent AUTH, but no password is set", MS_EDENIED, "requirepass"},
        {"NOPERM this user has no permissions to run the 'zadd' command", MS_EDENIED, "ACL"},
        {"ERR The user executing the script can't run this command", MS_EDENIED, "ACL"},
        {"DENIED Redis is running in protected mode", MS_EDENIED, "requirepass"},
        {"ERR DB index is out of range", MS_EDENIED, "database"},
        {"MOVED 3999 127.0.0.1:6381", MS_EDENIED, "Cluster"},
        {"CROSSSLOT Keys in request don't hash to the same slot", MS_EDENIED, "Cluster"},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", MS_ECORRUPT, NULL},
        {"ERR unknown command", MS_EINTERNAL, NULL},
        {"ERR something about OOM", MS_EINTERNAL, NULL},
        /* as Redis 6 says it of a script */
        {"ERR Error running script (call to f_12): @user_script:7: @user_script: 7: -OOM command",
         MS_ENET, "maxmemory"},
        {"ERR Error running script (call to f_12): @user_script:7: The user executing the script",
         MS_EDENIED, "ACL"},
        {"ERR Error running script (call to f_12): @user_script:7: no such thing", MS_EINTERNAL,
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *remedy;
        const int code = ms_redis_refusal(cases[i].reply, &remedy);
        if (code != cases[i].code)
            fail_msg("%s: %d instead of %d", cases[i].reply, code, cases[i].code);
        if ((cases[i].remedy == NULL) != (remedy == NULL) ||
            (remedy != NULL && strstr(remedy, cases[i].remedy) == NULL))
            fail_msg("%s: %s", cases[i].reply, remedy != NULL ? remedy : "no remedy");
    }
}

static void begin_job(int number, struct ms_job *job, char token[MS_TOKEN_HEX]) {
    char id[MS_JOB_ID_HEX];
    put(number, id);
    reserve(job, token, LEASE_MS);
    assert_string_equal(job->id, id);
}

static void end_job(struct ms_job *job, const char *token) {
    OK(change(MS_CHANGE_FINISH, job, token));
    assert_int_equal(state_of(job->id), MS_JOB_SUCCEEDED);
    erase(job->id);
    ms_job_fini(job);
}

void a_full_server_is_an_outage_that_passes(void **state) {
    struct ms_queue *other = NULL;
    const char *warning;
    (void)state;
    OK(ms_queue_ping(queue, &warning, &err)); /* it has the one connection */
    ask_server("config set maxclients 1");
    OK(ms_queue_open(url, &other, &err));
    OK(ms_queue_ping(queue, &warning, &err));
    assert_int_equal(ms_queue_ping(other, &warning, &err), MS_ENET);
    ms_queue_close(other);
    assert_non_null(strstr(err.text, "maxclients"));
    ms_queue_close(queue); /* makes room, once the server has noticed */
    OK(ms_queue_open(url, &queue, &err));
    UNTIL(server_does("config set maxclients 1000"));
    OK(ms_queue_ping(queue, &warning, &err));
}

void a_server_that_refuses_to_write_is_an_outage(void **state) {
    struct ms_job job, other;
    bool created;
    char token[MS_TOKEN_HEX];
    (void)state;
    begin_job(610, &job, token);
    ask_server("config set min-replicas-to-write 1");
    assert_int_equal(change(MS_CHANGE_FINISH, &job, token), MS_ENET);
    assert_non_null(strstr(err.text, "NOREPLICAS"));
    assert_non_null(strstr(err.text, "min-replicas-to-write"));
    ask_server("config set min-replicas-to-write 0");
    make_job(611, &other);
    ask_server("config set maxmemory 1");
    assert_int_equal(ms_queue_enqueue(queue, &other, &created, NULL, &err), MS_ENET);
    assert_non_null(strstr(err.text, "raise maxmemory"));
    ask_server("config set maxmemory 0");
    ms_job_fini(&other);
    end_job(&job, token);
}

/* Of a connection that has not logged in, Redis calls a command of more than 10 words an error of
 * the protocol, and closes it. */
void a_missing_password_is_named_whatever_the_command(void **state) {
    struct ms_queue *stranger = NULL;
    struct ms_job job;
    char token[MS_TOKEN_HEX], strange_url[100];
    (void)state;
    begin_job(615, &job, token);
    (void)snprintf(strange_url, sizeof strange_url, "redis://127.0.0.1:%s", port);
    OK(ms_queue_open(strange_url, &stranger, &err));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ms_queue_change(stranger, MS_CHANGE_FINISH, &job, token, LEASE_MS, &err),
                         MS_EDENIED);
        assert_non_null(strstr(err.text, "NOAUTH"));
        assert_non_null(strstr(err.text, "password"));
    }
    ms_queue_close(stranger);
    end_job(&job, token);
}

void rights_that_are_missing_are_named(void **state) {
    struct ms_queue *guest = NULL;
    struct ms_job job;
    const char *warning;
    char token[MS_TOKEN_HEX], guest_url[100];
    (void)state;
    begin_job(620, &job, token);
    ask_server("acl setuser guest on '>gu3st' '~*' +@all -zrem");
    (void)snprintf(guest_url, sizeof guest_url, "redis://guest:gu3st@127.0.0.1:%s/3", port);
    OK(ms_queue_open(guest_url, &guest, &err));
    OK(ms_queue_ping(guest, &warning, &err));
    assert_int_equal(
        ms_queue_change(guest, MS_CHANGE_FINISH, &job, token, LEASE_MS, &err), /* in a script */
        MS_EDENIED);
    assert_non_null(strstr(err.text, "ACL SETUSER"));
    ask_server("acl setuser guest -evalsha");
    assert_int_equal(ms_queue_change(guest, MS_CHANGE_FINISH, &job, token, LEASE_MS, &err),
                     MS_EDENIED);
    assert_non_null(strstr(err.text, "NOPERM"));
    assert_non_null(strstr(err.text, "ACL SETUSER"));
    ask_server("acl deluser guest");
    assert_int_equal(ms_queue_change(guest, MS_CHANGE_FINISH, &job, token, LEASE_MS, &err),
                     MS_EDENIED);
    assert_non_null(strstr(err.text, "password"));
    ms_queue_close(guest);
    end_job(&job, token);
}
