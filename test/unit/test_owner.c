/* Who may know of which job. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "owner.h"

static const struct ms_account alice = {.name = "alice", .scopes = MS_SCOPE_READ},
                               bob = {.name = "bob", .scopes = MS_SCOPE_SUBMIT | MS_SCOPE_READ},
                               root = {.name = "root", .scopes = MS_SCOPE_ADMIN},
                               open_v1 = {.name = "", .scopes = MS_SCOPE_SUBMIT | MS_SCOPE_READ};

static void make(const char *owner, struct ms_job *job) {
    struct ms_job_options options;
    ms_job_options_default("m", &options);
    assert_int_equal(ms_job_init(job, "abc", 3, &options, "m", NULL), 0);
    if (owner[0] != '\0')
        assert_int_equal(ms_job_set_owner(job, owner, NULL), 0);
}

static void who_sees_what(void **state) {
    static const struct {
        const struct ms_account *caller;
        bool of_nobody, of_alice, of_bob; /* does the caller see such jobs? */
    } cases[] = {
        {NULL, true, true, true},   {&root, true, true, true},      {&alice, false, true, false},
        {&bob, false, false, true}, {&open_v1, true, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const owners[] = {"", "alice", "bob"};
        const bool expected[] = {cases[i].of_nobody, cases[i].of_alice, cases[i].of_bob};
        for (int k = 0; k < 3; k++) {
            struct ms_job job;
            make(owners[k], &job);
            assert_int_equal(ms_api_may_see(cases[i].caller, &job), expected[k]);
            assert_int_equal(ms_api_may_ask(cases[i].caller, job.id), expected[k]);
            ms_job_fini(&job);
        }
        assert_false(ms_api_may_ask(cases[i].caller, ""));
        assert_false(ms_api_may_ask(cases[i].caller, "../../etc/passwd"));
    }
    assert_null(ms_api_owner_seen(NULL));
    assert_null(ms_api_owner_seen(&root));
    assert_string_equal(ms_api_owner_seen(&bob), "bob");
    assert_true(ms_api_shows_owner(&root));
    assert_false(ms_api_shows_owner(&bob));
    assert_false(ms_api_shows_owner(NULL));
}

/* The record decides, if an id happens to look like another's. */
static void the_record_decides(void **state) {
    struct ms_job job;
    (void)state;
    make("alice", &job);
    strcpy(job.owner, "bob");
    assert_false(ms_api_may_see(&alice, &job));
    assert_false(ms_api_may_see(&bob, &job));
    ms_job_fini(&job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_sees_what),
        cmocka_unit_test(the_record_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
