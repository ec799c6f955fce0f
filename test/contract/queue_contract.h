/* What the files of the queue's contract share: the backend under test, jobs, waiting for
 * conditions. */
#ifndef MSAAS_TEST_QUEUE_CONTRACT_H
#define MSAAS_TEST_QUEUE_CONTRACT_H

#include "msaas/queue.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "msaas/sys.h"

#define DEADLINE_S 60
#define LEASE_MS 60000
#define SHORT_MS 150

extern bool redis; /* the backend: Redis, else SQLite */
extern char folder[64], url[128], port[8];
extern struct ms_queue *queue;
extern struct ms_error err;

#define OK(call)                                                                                   \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ != 0)                                                                              \
            fail_msg("%s: %d %s", #call, rc_, err.text);                                           \
    } while (0)

/* Waits for a condition, not for time. */
#define UNTIL(condition)                                                                           \
    for (double until_ = ms_monotonic_s() + DEADLINE_S; !(condition); nap())                       \
    assert_true(ms_monotonic_s() < until_)

/* queue_tools.c */
void nap(void);
void start_server(void);
void kill_server(void);
int start(void **state);
int stop(void **state);
void ask_server(const char *command);
bool server_does(const char *command); /* whether it answers OK */
/* Spoils a record: it cannot be read, is another job's, and in Redis is no hash at all. */
void spoil(const char *id, int how);
void make_job(int number, struct ms_job *job);
void put(int number, char id[MS_JOB_ID_HEX]);
enum ms_job_state state_of(const char *id);
void erase(const char *id);
void reserve(struct ms_job *job, char token[MS_TOKEN_HEX], int64_t lease_ms);
void expect_none(void);
int change(enum ms_queue_change what, const struct ms_job *job, const char *token);
void add_stem(struct ms_job *job, const char *name);
/* As a worker that has htdemucs; *lapsed: the leases. */
int reap(int *lapsed);

/* queue_leases.c */
void a_lapsed_lease_goes_back(void **state);
void a_renewed_lease_holds(void **state);
void failures_that_pass_are_tried_again(void **state);
void a_lease_of_the_dead_is_given_back(void **state);
void a_crash_counts_only_where_one_was_before(void **state);

/* queue_models.c */
void a_job_goes_to_a_worker_that_has_its_model(void **state);
void many_jobs_of_other_models_are_no_hindrance(void **state);
void a_job_whose_model_nobody_has_fails(void **state);

/* queue_keys.c */
void a_request_under_a_key_is_done_once(void **state);
void a_key_without_an_answer_is_free(void **state);
void notes_lapse(void **state);
void of_many_under_one_key_one_is_done(void **state);

/* queue_outbox.c */
void every_callback_of_a_song_is_due(void **state);
void nothing_holds_up_the_outbox(void **state);
void callbacks_wait_in_the_outbox(void **state);

/* queue_lists.c */
void many_may_wait(void **state);
void lists_go_back_in_time(void **state);

/* queue_old.c */
void what_ended_long_ago_is_forgotten(void **state);
void a_record_of_an_earlier_release_is_read(void **state);

/* queue_owners.c */
void each_owner_has_jobs_of_its_own(void **state);
void lists_of_an_owner_go_back_in_time(void **state);
void what_an_owner_uses_is_limited(void **state);
void bytes_before_a_job_are_charged_once(void **state);
void many_at_once_keep_within_the_limit(void **state);
void the_length_is_charged_when_it_is_known(void **state);
void a_day_ends(void **state);

/* queue_items.c: of Redis alone */
void json_of_other_programs_is_a_job(void **state);
void what_is_no_job_is_told_of(void **state);
void what_any_worker_may_do_waits_for_no_model(void **state);
void what_any_worker_may_do_is_found_far_behind(void **state);
void jobs_of_other_models_cost_idle_workers_little(void **state);
void the_list_may_hold_json(void **state);

/* queue_lost.c: of Redis alone, too */
void a_restart_costs_no_connection_a_call(void **state);
void only_what_harms_nobody_is_sent_again(void **state);
void a_wait_outlives_its_connection(void **state);

/* queue_refusals.c: of Redis alone, too */
void each_refusal_passes_or_says_the_remedy(void **state);
void a_full_server_is_an_outage_that_passes(void **state);
void a_server_that_refuses_to_write_is_an_outage(void **state);
void a_missing_password_is_named_whatever_the_command(void **state);
void rights_that_are_missing_are_named(void **state);

/* queue_redis.c, queue_sqlite.c: what only one of them can be asked */
extern const struct CMUnitTest redis_tests[], sqlite_tests[];
extern const size_t redis_test_count, sqlite_test_count;

#endif
