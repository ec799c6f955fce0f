/* Keys of requests. See queue_contract.h. */
#include "queue_contract.h"

#include "queue_ops.h"

#define CALLERS 8

static enum ms_key_state begin(const char *key, const char *request, char token[MS_TOKEN_HEX]) {
    enum ms_key_state state;
    char *answer;
    OK(ms_queue_begin_key(queue, key, request, token, &state, &answer, &err));
    free(answer);
    return state;
}

void a_request_under_a_key_is_done_once(void **state) {
    char token[MS_TOKEN_HEX], other[MS_TOKEN_HEX], *answer;
    enum ms_key_state again;
    (void)state;
    assert_int_equal(begin("once", "aa", token), MS_KEY_NEW);
    assert_int_equal(begin("once", "aa", other), MS_KEY_AT_WORK);
    assert_int_equal(begin("once", "a", other), MS_KEY_OF_ANOTHER);
    assert_int_equal(begin("once", "bb", other), MS_KEY_OF_ANOTHER);
    assert_int_equal(ms_queue_end_key(queue, "once", "aa", other, "wrong", &err), MS_ECONFLICT);
    OK(ms_queue_end_key(queue, "once", "aa", token, "{\"a\":\n\"\\u00e4\"}", &err));
    OK(ms_queue_begin_key(queue, "once", "aa", other, &again, &answer, &err));
    assert_int_equal(again, MS_KEY_ANSWERED);
    assert_string_equal(answer, "{\"a\":\n\"\\u00e4\"}");
    free(answer);
    assert_int_equal(begin("once", "bb", other), MS_KEY_OF_ANOTHER);
    OK(ms_queue_end_key(queue, "once", "aa", token, "{\"a\":\n\"\\u00e4\"}", &err)); /* repeated */
}

void a_key_without_an_answer_is_free(void **state) {
    char token[MS_TOKEN_HEX];
    (void)state;
    assert_int_equal(begin("free", "aa", token), MS_KEY_NEW);
    OK(ms_queue_end_key(queue, "free", "aa", token, NULL, &err));
    assert_int_equal(begin("free", "bb", token), MS_KEY_NEW);
}

void notes_lapse(void **state) {
    char *found = NULL;
    (void)state;
    OK(queue->ops->note(queue, "short", "", "one", 60000, &found, &err));
    assert_int_equal(queue->ops->note(queue, "short", "", "two", 60000, &found, &err),
                     MS_ECONFLICT);
    assert_string_equal(found, "one");
    free(found);
    found = NULL;
    OK(queue->ops->note(queue, "short", "one", "two", 1, &found, &err));
    for (int rc = MS_ECONFLICT; rc != 0; nap()) {
        free(found);
        found = NULL;
        rc = queue->ops->note(queue, "short", "", "three", 60000, &found, &err);
    }
    assert_int_equal(queue->ops->note(queue, "short", "two", "four", 1, &found, &err),
                     MS_ECONFLICT);
    assert_string_equal(found, "three");
    free(found);
}

static void *begin_beside_others(void *context) {
    struct ms_queue *own = NULL;
    char token[MS_TOKEN_HEX], *answer = NULL;
    enum ms_key_state state = MS_KEY_OF_ANOTHER;
    struct ms_error why = {0};
    if (ms_queue_open(url, &own, &why) == 0 &&
        ms_queue_begin_key(own, "crowd", "aa", token, &state, &answer, &why) == 0)
        *(enum ms_key_state *)context = state;
    ms_queue_close(own);
    free(answer);
    return NULL;
}

void of_many_under_one_key_one_is_done(void **state) {
    pthread_t threads[CALLERS];
    enum ms_key_state states[CALLERS];
    int begun = 0;
    (void)state;
    for (int i = 0; i < CALLERS; i++) {
        states[i] = MS_KEY_OF_ANOTHER;
        assert_int_equal(pthread_create(&threads[i], NULL, begin_beside_others, &states[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_true(states[i] == MS_KEY_NEW || states[i] == MS_KEY_AT_WORK);
        begun += states[i] == MS_KEY_NEW;
    }
    assert_int_equal(begun, 1);
}
