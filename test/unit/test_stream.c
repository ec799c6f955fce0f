/* What comes from the decoder's process is not trusted: messages in a wrong order, of a wrong size,
 * cut off anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "stream.h"
#include "tags.h"

#define RATE_HZ 44100

static const uint32_t none;

/* The linker puts these before the system's: every wait is in vain, and takes its whole time. */
static double now_s, stopped_s; /* stopped_s: in the next wait, by Ctrl-Z */
static int waits, waits_until_end;
static int writer;

double __wrap_ms_monotonic_s(void);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);

double __wrap_ms_monotonic_s(void) {
    return now_s;
}

int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms) {
    (void)files, (void)count;
    assert_true(timeout_ms > 0);
    now_s += timeout_ms / 1000.0 + stopped_s;
    stopped_s = 0;
    if (++waits == waits_until_end)
        assert_true(ms_message_send(writer, MS_MESSAGE_END, &none, sizeof none, NULL, 0));
    return 0;
}

struct channel {
    int ends[2];
    struct ms_stream stream;
};

static void channel_open(struct channel *channel) {
    assert_int_equal(pipe2(channel->ends, O_NONBLOCK), 0);
    assert_true(fcntl(channel->ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
    assert_int_equal(ms_stream_open(&channel->stream, channel->ends[0], RATE_HZ, NULL), 0);
}

static void channel_close(struct channel *channel) {
    ms_stream_close(&channel->stream);
    (void)close(channel->ends[0]);
    (void)close(channel->ends[1]);
}

static void send(struct channel *channel, enum ms_message kind, const void *data, size_t bytes) {
    assert_true(ms_message_send(channel->ends[1], kind, data, bytes, NULL, 0));
}

static int receive(struct channel *channel, struct ms_error *err) {
    return ms_stream_receive(&channel->stream, err);
}

static void open_ready(struct channel *channel) {
    channel_open(channel);
    send(channel, MS_MESSAGE_READY, &none, sizeof none);
    assert_int_equal(receive(channel, NULL), 0);
}

/* After READY this message is refused. */
static void refuse(enum ms_message kind, const void *data, size_t bytes) {
    struct channel channel;
    struct ms_error err = {0};
    open_ready(&channel);
    send(&channel, kind, data, bytes);
    assert_int_equal(receive(&channel, &err), MS_EINPUT);
    assert_string_not_equal(err.text, "");
    assert_false(channel.stream.broken_off);
    channel_close(&channel);
}

static void a_song_comes_through(void **state) {
    (void)state;
    const struct {
        uint32_t which;
        char text[6];
    } title = {0, "Title"};
    const float left[] = {0.25f, 0.5f}, right[] = {-0.25f, -0.5f};
    const uint32_t damaged = 1;
    struct channel channel;
    open_ready(&channel);
    send(&channel, MS_MESSAGE_TEXT, &title, sizeof title.which + 5);
    assert_int_equal(receive(&channel, NULL), 0);
    assert_string_equal(ms_tags_text(channel.stream.tags, 0), "Title");
    assert_true(
        ms_message_send(channel.ends[1], MS_MESSAGE_AUDIO, left, sizeof left, right, sizeof right));
    assert_int_equal(receive(&channel, NULL), 0);
    assert_int_equal(channel.stream.stage_count, 2);
    assert_memory_equal(channel.stream.stage[0], left, sizeof left);
    assert_memory_equal(channel.stream.stage[1], right, sizeof right);
    send(&channel, MS_MESSAGE_END, &damaged, sizeof damaged);
    assert_int_equal(receive(&channel, NULL), 0);
    assert_true(channel.stream.ended && channel.stream.damaged && channel.stream.frames == 2);
    send(&channel, MS_MESSAGE_AUDIO, left, sizeof left); /* after the end */
    assert_int_equal(receive(&channel, NULL), MS_EINPUT);
    channel_close(&channel);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    static float audio[2 * (MS_MESSAGE_FRAMES + 1)];
    static char text[4 + MS_TAGS_TEXT_BYTES + 1];
    const uint32_t beyond = MS_TAGS_TEXTS;
    refuse(MS_MESSAGE_READY, &none, sizeof none);
    refuse((enum ms_message)0, NULL, 0);
    refuse((enum ms_message)77, audio, 80);
    refuse(MS_MESSAGE_AUDIO, NULL, 0);
    refuse(MS_MESSAGE_AUDIO, audio, 4);
    refuse(MS_MESSAGE_AUDIO, audio, 12);
    refuse(MS_MESSAGE_AUDIO, audio, sizeof audio);
    refuse(MS_MESSAGE_TEXT, text, 3);
    refuse(MS_MESSAGE_TEXT, &beyond, sizeof beyond);
    refuse(MS_MESSAGE_TEXT, text, sizeof text);
    refuse(MS_MESSAGE_END, NULL, 0);
    refuse(MS_MESSAGE_END, text, 5);
    refuse(MS_MESSAGE_FAILED, text, 2);
    refuse(MS_MESSAGE_FAILED, text, 4 + MS_ERROR_TEXT_BYTES);
    const struct ms_message_head huge = {MS_MESSAGE_COVER, UINT32_MAX};
    struct channel channel;
    open_ready(&channel);
    assert_int_equal(write(channel.ends[1], &huge, sizeof huge), sizeof huge);
    assert_int_equal(receive(&channel, NULL), MS_EINPUT);
    channel_close(&channel);
    channel_open(&channel); /* audio before READY */
    send(&channel, MS_MESSAGE_AUDIO, audio, 8);
    assert_int_equal(receive(&channel, NULL), MS_EINPUT);
    channel_close(&channel);
}

static void each_tag_comes_once(void **state) {
    (void)state;
    struct channel channel;
    open_ready(&channel);
    send(&channel, MS_MESSAGE_COVER, "no picture", 10); /* passed over */
    assert_int_equal(receive(&channel, NULL), 0);
    send(&channel, MS_MESSAGE_COVER, "no picture", 10);
    assert_int_equal(receive(&channel, NULL), MS_EINPUT);
    channel_close(&channel);
}

static void samples_are_finite(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float audio[4] = {0, 0, 0, 0};
        audio[i] = bad[i];
        refuse(MS_MESSAGE_AUDIO, audio, sizeof audio);
    }
}

static void a_failure_is_told_without_control_characters(void **state) {
    (void)state;
    struct {
        int32_t code;
        char text[12];
    } failure = {MS_EINTERNAL, "a\33[2Jb\nc\xff"};
    struct ms_error err = {0};
    struct channel channel;
    open_ready(&channel);
    send(&channel, MS_MESSAGE_FAILED, &failure, 4 + strlen(failure.text));
    assert_int_equal(receive(&channel, &err), MS_EINTERNAL);
    assert_string_equal(err.text, "a?[2Jb?c?");
    channel_close(&channel);
    /* none of the decoder's; its limit of memory is the file's affair */
    const int32_t not_taken[] = {MS_ECONFLICT, MS_ENOMEM};
    for (int i = 0; i < 2; i++) {
        failure.code = not_taken[i];
        open_ready(&channel);
        send(&channel, MS_MESSAGE_FAILED, &failure, 8);
        assert_int_equal(receive(&channel, &err), MS_EINPUT);
        channel_close(&channel);
    }
}

static void patience_has_an_end(void **state) {
    (void)state;
    struct ms_error err = {0};
    struct channel channel;
    open_ready(&channel);
    waits = 0;
    assert_int_equal(receive(&channel, &err), MS_EIO);
    assert_non_null(strstr(err.text, "was waited for 100 s"));
    channel_close(&channel);
}

static void time_in_which_both_were_stopped_does_not_count(void **state) {
    (void)state;
    struct channel channel;
    open_ready(&channel);
    waits = 0;
    waits_until_end = 50;
    writer = channel.ends[1];
    stopped_s = 3600;
    assert_int_equal(receive(&channel, NULL), 0);
    assert_true(channel.stream.ended);
    waits_until_end = 0;
    channel_close(&channel);
}

static void an_end_anywhere_is_noticed(void **state) {
    (void)state;
    uint8_t whole[200];
    struct channel source;
    channel_open(&source);
    send(&source, MS_MESSAGE_READY, &none, sizeof none);
    send(&source, MS_MESSAGE_AUDIO, (float[8]){0}, 32);
    const ssize_t size = read(source.ends[0], whole, sizeof whole);
    assert_int_equal(size, 8 + 4 + 8 + 32);
    channel_close(&source);
    for (ssize_t cut = 0; cut <= size; cut++) {
        struct channel channel;
        channel_open(&channel);
        assert_int_equal(write(channel.ends[1], whole, (size_t)cut), cut);
        (void)close(channel.ends[1]);
        int rc = 0;
        while (rc == 0)
            rc = receive(&channel, NULL);
        assert_true(rc == MS_EINPUT && channel.stream.broken_off);
        ms_stream_close(&channel.stream);
        (void)close(channel.ends[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_song_comes_through),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(each_tag_comes_once),
        cmocka_unit_test(samples_are_finite),
        cmocka_unit_test(a_failure_is_told_without_control_characters),
        cmocka_unit_test(patience_has_an_end),
        cmocka_unit_test(time_in_which_both_were_stopped_does_not_count),
        cmocka_unit_test(an_end_anywhere_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
