/* Callbacks: which addresses they may reach, their signature, and what a real receiver on loopback
 * gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netdb.h>
#include <time.h>

#include "address.h"
#include "loopback.h"
#include "msaas/turns.h"
#include "msaas/webhook.h"
#include "sign.h"

/* ---- addresses ---- */

/* Judges a host as the resolver reads it, which is what libcurl connects to. Numbers only: nobody
 * is asked. */
static bool is_public(const char *host) {
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        fail_msg("%s is no address", host);
    const bool result = ms_address_is_public(found->ai_addr);
    freeaddrinfo(found);
    return result;
}

static void tells_public_addresses_from_others(void **state) {
    static const char *const others[] = {
        /* the ends of each block */
        "0.0.0.0",
        "0.1.2.3",
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.0",
        "127.255.255.255",
        "169.254.0.0",
        "169.254.255.255",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.0",
        "192.0.0.255",
        "192.0.2.0",
        "192.0.2.255",
        "192.88.99.0",
        "192.88.99.255",
        "192.168.0.0",
        "192.168.255.255",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.0",
        "198.51.100.255",
        "203.0.113.0",
        "203.0.113.255",
        "224.0.0.0",
        "239.255.255.255",
        "240.0.0.0",
        "255.255.255.255",
        /* the services of clouds */
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "fd00:ec2::254",
        "fe80::a9fe:a9fe",
        /* loopback in the spellings that resolvers take */
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.00.00.01",
        "2130706433",
        "0x7f000001",
        "0x7F.0x0.0x0.0x1",
        "0x7f.1",
        "0x7f.0.1",
        "0177.0.0.1",
        "0177.1",
        "017700000001",
        "0177.0x0.0.1",
        "127.0x0000001",
        "127.65535",
        "0",
        "0x0",
        "00.0",
        "127.127.127.127",
        /* private ones */
        "0xa.1",
        "012.0.0.1",
        "167772161",
        "0xc0a80001",
        "3232235521",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "172.1048577",
        /* IPv6 itself */
        "::",
        "::1",
        "0:0:0:0:0:0:0:1",
        "0000::0001",
        "::0001",
        "100::1",
        "100:0:0:1::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:1ff:ffff:ffff::",
        "2001:db8::1",
        "2001:db8:ffff::1",
        "3fff::1",
        "3fff:fff:ffff::1",
        "1fff:ffff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        /* IPv4 in other clothes */
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "0:0:0:0:0:ffff:7f00:0001",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::127.0.0.1",
        "::8.8.8.8",
        "::7f00:1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::10.1.2.3",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "64:ff9b:1::127.0.0.1",
        "64:ff9b:0:0:1::8.8.8.8",
        "2002:7f00:1::",
        "2002:7f00:0001::1",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::",
        "2002:c0a8:1::1",
        "2002:808:808::1",
        "fe80::5efe:127.0.0.1",
    };
    static const char *const publics[] = {
        "1.0.0.0",          "1.1.1.1",          "8.8.8.8",          "9.255.255.255",
        "11.0.0.0",         "100.63.255.255",   "100.128.0.0",      "126.255.255.255",
        "128.0.0.0",        "168.63.129.15",    "168.63.129.17",    "169.253.255.255",
        "169.255.0.0",      "172.15.255.255",   "172.32.0.0",       "191.255.255.255",
        "192.0.1.0",        "192.0.3.0",        "192.31.196.1",     "192.52.193.1",
        "192.88.98.255",    "192.88.100.0",     "192.167.255.255",  "192.169.0.0",
        "192.175.48.1",     "198.17.255.255",   "198.20.0.0",       "198.51.99.255",
        "198.51.101.0",     "203.0.112.255",    "203.0.114.0",      "223.255.255.255",
        "134744072",        "0x08080808",       "010.8.8.8",        "2000::1",
        "2001:200::1",      "2001:4860::8888",  "2001:db7:ffff::1", "2001:db9::1",
        "2003::1",          "2606:4700::1111",  "2620:4f:8000::1",  "2a00:1450:4001::200e",
        "3ffe:ffff::1",     "3fff:1000::1",     "::ffff:8.8.8.8",   "::ffff:808:808",
        "64:ff9b::8.8.8.8", "64:ff9b::808:808",
    };
    const struct sockaddr other = {.sa_family = AF_UNIX};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_public(others[i]))
            fail_msg("%s is taken for public", others[i]);
    for (size_t i = 0; i < sizeof publics / sizeof *publics; i++)
        if (!is_public(publics[i]))
            fail_msg("%s is not taken for public", publics[i]);
    assert_false(ms_address_is_public(&other));
}

static bool holds(const struct ms_allowed *allowed, const char *host, const char *text) {
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    assert_int_equal(getaddrinfo(text, NULL, &hints, &found), 0);
    const bool result = ms_allowed_holds(allowed, host, found->ai_addr);
    freeaddrinfo(found);
    return result;
}

static void allows_what_it_is_told(void **state) {
    struct ms_allowed *allowed = NULL;
    (void)state;
    assert_int_equal(ms_allowed_parse(" 10.1.0.0/16,127.0.0.1 , fd00:1::/32\t,100.64.0.0/11,,"
                                      "hooks.inside.example,localhost",
                                      &allowed, NULL),
                     0);
    assert_true(holds(allowed, "x", "10.1.255.1"));
    assert_true(holds(allowed, "x", "::ffff:10.1.255.1"));
    assert_true(holds(allowed, "x", "64:ff9b::10.1.0.9"));
    assert_true(holds(allowed, "", "127.0.0.1"));
    assert_true(holds(allowed, "", "0x7f.1"));
    assert_true(holds(allowed, "", "fd00:1:ffff::1"));
    assert_true(holds(allowed, "", "100.95.255.255"));
    assert_false(holds(allowed, "", "100.96.0.0"));
    assert_false(holds(allowed, "", "10.2.0.1"));
    assert_false(holds(allowed, "", "127.0.0.2"));
    assert_false(holds(allowed, "", "fd00:2::1"));
    assert_false(holds(allowed, "", "::1"));
    assert_true(holds(allowed, "localhost", "::1"));
    assert_true(holds(allowed, "LOCALHOST", "127.0.0.2"));
    assert_true(holds(allowed, "hooks.inside.example", "192.168.7.7"));
    assert_false(holds(allowed, "ocalhost", "127.0.0.2"));
    assert_false(holds(allowed, "localhost.", "127.0.0.2"));
    assert_false(holds(allowed, "x.localhost", "127.0.0.2"));
    assert_false(holds(allowed, "inside.example", "127.0.0.2"));
    ms_allowed_free(allowed);

    assert_int_equal(ms_allowed_parse("0.0.0.0/0", &allowed, NULL), 0);
    assert_true(holds(allowed, "", "127.0.0.1"));
    assert_false(holds(allowed, "", "::1"));
    ms_allowed_free(allowed);
    assert_int_equal(ms_allowed_parse(NULL, &allowed, NULL), 0);
    assert_false(holds(allowed, "", "127.0.0.1"));
    ms_allowed_free(allowed);

    static const char *const wrong[] = {
        "10.0.0.0/33",   "10.0.0/8",   "::/129",      "10.0.0.0/",
        "10.0.0.0/-1",   "/8",         "10.0.0.0/8x", "10.0.0",
        "10.0.0.0/ 8",   "10.0.0.256", "1::2::3",     "localhost:80",
        "a..b",          ".a",         "a.",          "0x7f.1",
        "http://inside", "*.example",  "localhost/8", "[::1]",
        "\xc3\xa4",      "127.1",      "2130706433",  "10.0.0.0/99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (ms_allowed_parse(wrong[i], &allowed, NULL) != MS_EUSAGE)
            fail_msg("%s is taken for a host or a network", wrong[i]);
}

/* ---- turns ---- */

static void each_host_is_called_by_one_at_a_time(void **state) {
    struct ms_turns *turns = ms_turns_new(2);
    (void)state;
    assert_non_null(turns);
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 100), 0);
    ms_turns_begin(turns, "a.example", 100);
    assert_int_equal(ms_turns_wait_ms(turns, "b.example", 100), 0); /* another's business */
    /* Those that come meanwhile come again one after the other. */
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 100), 20);
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 100), 40);
    ms_turns_end(turns, "a.example", 110); /* it took 10 s */
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 110), 0);
    ms_turns_begin(turns, "a.example", 110);
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 110), 10000);
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 112), 18000);
    for (int i = 0; i < 1000; i++)
        assert_in_range(ms_turns_wait_ms(turns, "a.example", 112), 1, 60000);
    /* A pace that has become good again counts at once. */
    ms_turns_end(turns, "a.example", 110.001);
    ms_turns_begin(turns, "a.example", 300);
    assert_int_equal(ms_turns_wait_ms(turns, "a.example", 300), 20);
    /* What others do does not make it forget who is being called. */
    for (int i = 0; i < 1000; i++) {
        char host[64];
        (void)snprintf(host, sizeof host, "other-%d.example", i);
        ms_turns_begin(turns, host, 300 + i);
        assert_in_range(ms_turns_wait_ms(turns, host, 300 + i), 1, 60000);
        ms_turns_end(turns, host, 301 + i);
    }
    assert_in_range(ms_turns_wait_ms(turns, "a.example", 1400), 1, 60000);
    ms_turns_free(turns);
    ms_turns_free(NULL);
}

/* ---- signatures: computed by Python's hmac and base64 ---- */

static void signs_as_the_standard_says(void **state) {
    static const unsigned char key[] = {0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a,
                                        0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
                                        0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0};
    char signature[MS_WEBHOOK_SIGNATURE_MAX];
    (void)state;
    /* The example of the Standard Webhooks specification. */
    assert_int_equal(ms_webhook_sign(key, sizeof key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                                     "{\"test\": 2432232314}", signature, NULL),
                     0);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(
        ms_webhook_sign("plain text secret", 17, "msg_1", 1700000000, "{}", signature, NULL), 0);
    assert_string_equal(signature, "v1,2vaQl105Q2LXYeLJkJiWFzXb5Sdpnh/Qx7vFX9fSAoI=");
}

/* ---- deliveries ---- */

struct receiver {
    struct loopback server;
    const char *answer;
    atomic_int count;
    struct loopback_request last;
};

static void answer(void *context, int fd, const struct loopback_request *request) {
    struct receiver *receiver = context;
    receiver->last = *request;
    atomic_fetch_add(&receiver->count, 1);
    loopback_send(fd, receiver->answer, strlen(receiver->answer));
}

static void start(struct receiver *receiver) {
    *receiver = (struct receiver){.answer = "HTTP/1.1 204 No Content\r\n\r\n"};
    receiver->server.answer = answer;
    receiver->server.context = receiver;
    loopback_start(&receiver->server);
}

static void make_due(struct ms_callback_due *due, int version, const struct receiver *receiver,
                     const char *data) {
    struct ms_job_options options;
    *due = (struct ms_callback_due){0};
    ms_job_options_default("tiny", &options);
    assert_int_equal(ms_job_init(&due->job, "song", 4, &options, "tiny", NULL), 0);
    due->job.state = MS_JOB_SUCCEEDED;
    due->job.callback_count = 1;
    due->job.callbacks[0].version = version;
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook?x=1", receiver->server.port);
    due->job.callbacks[0].url = strdup(url);
    due->job.callbacks[0].data = data != NULL ? strdup(data) : NULL;
    strcpy(due->webhook_id, "msg_42");
}

static int deliver(const char *secret, const char *allow, const struct ms_callback_due *due,
                   bool *give_up, struct ms_error *err) {
    struct ms_webhook *webhook;
    assert_int_equal(ms_webhook_new(secret, allow, NULL, &webhook, NULL), 0);
    int rc = ms_webhook_deliver(webhook, due, give_up, err);
    ms_webhook_free(webhook);
    return rc;
}

/* The value of a header of the last request; "" where there is none. */
static const char *header(const struct receiver *receiver, const char *name, char value[256]) {
    const char *at = strstr(receiver->last.head, name);
    value[0] = '\0';
    if (at != NULL && at[strlen(name)] == ':')
        sscanf(at + strlen(name) + 1, " %255[^\r\n]", value);
    return value;
}

static void version_1_sends_the_data_alone(void **state) {
    struct receiver receiver;
    (void)state;
    start(&receiver);
    struct ms_callback_due due;
    make_due(&due, 1, &receiver, "{\"song\": [1, \"\xc3\xa4\"]}");
    struct ms_error err = {0};
    bool give_up = true;
    assert_int_equal(deliver(NULL, "127.0.0.1", &due, &give_up, &err), 0);
    assert_false(give_up);
    assert_int_equal(strncmp(receiver.last.head, "POST /hook?x=1 HTTP/1.1\r\n", 25), 0);
    assert_string_equal(receiver.last.body, "{\"song\": [1, \"\xc3\xa4\"]}");
    char value[256];
    assert_string_equal(header(&receiver, "Content-Type", value), "application/json");
    assert_string_equal(header(&receiver, "webhook-id", value), "");
    ms_job_fini(&due.job);

    make_due(&due, 1, &receiver, NULL);
    assert_int_equal(deliver("secret", "127.0.0.1", &due, &give_up, &err), 0);
    assert_string_equal(receiver.last.body, "null");
    assert_string_equal(header(&receiver, "webhook-signature", value), "");
    ms_job_fini(&due.job);
    loopback_stop(&receiver.server);
}

static void version_2_sends_the_job_signed(void **state) {
    static const char secret[] = "whsec_c2VjcmV0IG9mIGNhbGxiYWNrcw==";
    struct receiver receiver;
    struct ms_callback_due due;
    struct ms_error err = {0};
    bool give_up = true;
    char value[256], signature[MS_WEBHOOK_SIGNATURE_MAX];
    int64_t timestamp_s;
    (void)state;
    start(&receiver);
    make_due(&due, 2, &receiver, NULL);
    assert_int_equal(deliver(secret, "127.0.0.0/8", &due, &give_up, &err), 0);
    assert_false(give_up);
    assert_string_equal(header(&receiver, "webhook-id", value), "msg_42");
    timestamp_s = strtoll(header(&receiver, "webhook-timestamp", value), NULL, 10);
    assert_in_range(timestamp_s, (int64_t)time(NULL) - 300, (int64_t)time(NULL));
    assert_int_equal(ms_webhook_sign("secret of callbacks", 19, "msg_42", timestamp_s,
                                     receiver.last.body, signature, NULL),
                     0);
    assert_string_equal(header(&receiver, "webhook-signature", value), signature);
    assert_string_equal(header(&receiver, "Content-Type", value), "application/json");
    assert_non_null(strstr(receiver.last.body, due.job.id));
    assert_non_null(strstr(receiver.last.body, "\"succeeded\""));

    assert_int_equal(deliver(NULL, "127.0.0.0/8", &due, &give_up, &err), 0);
    assert_string_equal(header(&receiver, "webhook-id", value), "msg_42");
    assert_string_equal(header(&receiver, "webhook-signature", value), "");
    ms_job_fini(&due.job);
    loopback_stop(&receiver.server);
}

/* Neither version, in no spelling. All of these are loopback for whoever lets them pass. */
static void reaches_no_private_address(void **state) {
    static const char *const hosts[] = {
        "127.0.0.1",       "localhost",         "LOCALHOST",
        "127.1",           "2130706433",        "0x7f000001",
        "0177.0.0.1",      "017700000001",      "0x7f.1",
        "[::1]",           "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "127.0.0.2",         "127.255.255.254",
        "127%2e0%2e0%2e1", "%6cocalhost",       "user:pass@127.0.0.1",
    };
    struct receiver receiver;
    (void)state;
    start(&receiver);
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1); /* a proxy would connect in our place */
    (void)setenv("all_proxy", "http://127.0.0.1:1", 1);
    for (int version = 1; version <= 2; version++)
        for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
            struct ms_callback_due due;
            make_due(&due, version, &receiver, NULL);
            free(due.job.callbacks[0].url);
            due.job.callbacks[0].url = malloc(128);
            (void)snprintf(due.job.callbacks[0].url, 128, "http://%s:%d/?x=1", hosts[i],
                           receiver.server.port);
            struct ms_error err = {0};
            bool give_up = false;
            /* Of another network, so that the list is not empty. */
            const int rc = deliver(NULL, "10.0.0.0/8", &due, &give_up, &err);
            if (rc == 0 ||
                (rc == MS_EDENIED && (!give_up || strstr(err.text, "--callback-allow") == NULL)))
                fail_msg("version %d, %s: %d %s", version, hosts[i], rc, err.text);
            assert_null(strstr(err.text, "x=1"));
            ms_job_fini(&due.job);
        }
    (void)unsetenv("http_proxy");
    (void)unsetenv("all_proxy");
    assert_int_equal(atomic_load(&receiver.count), 0);
    loopback_stop(&receiver.server);
}

/* The rest of the answer may be too long or break off: the job is not announced again. */
static void a_status_that_came_is_the_answer(void **state) {
    static const struct {
        const char *answer;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nok", 0},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nno", MS_ENET},
    };
    struct receiver receiver;
    struct ms_callback_due due;
    (void)state;
    start(&receiver);
    make_due(&due, 2, &receiver, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_error err = {0};
        bool give_up = true;
        receiver.answer = cases[i].answer;
        assert_int_equal(deliver(NULL, "127.0.0.1", &due, &give_up, &err), cases[i].code);
        assert_false(give_up);
    }
    ms_job_fini(&due.job);
    loopback_stop(&receiver.server);
}

static void judges_answers(void **state) {
    static const struct {
        const char *answer;
        int code;
        bool give_up;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, false},
        {"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 0, false},
        {"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", MS_ENET, false},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", MS_ENET, false},
        {"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", MS_ENET, true},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", MS_ENET, false},
        {"", MS_ENET, false},
    };
    struct receiver receiver;
    struct ms_callback_due due;
    (void)state;
    start(&receiver);
    for (int version = 1; version <= 2; version++) {
        make_due(&due, version, &receiver, NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const int before = atomic_load(&receiver.count);
            bool give_up = !cases[i].give_up;
            receiver.answer = cases[i].answer;
            struct ms_error err = {0};
            assert_int_equal(deliver(NULL, "127.0.0.1", &due, &give_up, &err), cases[i].code);
            assert_int_equal(give_up, cases[i].give_up);
            assert_null(strstr(err.text, "/hook")); /* which may be a secret */
            assert_int_equal(atomic_load(&receiver.count),
                             before + 1); /* no redirect was followed */
        }
        ms_job_fini(&due.job);
    }
    loopback_stop(&receiver.server);
}

static void gives_up_what_cannot_be_delivered(void **state) {
    struct receiver receiver;
    (void)state;
    start(&receiver);
    struct ms_callback_due due;
    make_due(&due, 1, &receiver, NULL);
    loopback_stop(&receiver.server); /* nobody listens there now */
    struct ms_error err = {0};
    bool give_up = true;
    assert_int_equal(deliver(NULL, "127.0.0.1", &due, &give_up, &err), MS_ENET);
    assert_false(give_up);
    assert_non_null(strstr(err.text, "127.0.0.1"));
    assert_null(strstr(err.text, "/hook"));
    free(due.job.callbacks[0].url);
    due.job.callbacks[0].url = strdup("ftp://127.0.0.1/");
    assert_int_equal(deliver(NULL, NULL, &due, &give_up, &err), MS_EUSAGE);
    assert_true(give_up);
    ms_job_fini(&due.job);
}

static void refuses_bad_settings(void **state) {
    static const char *const wrong[] = {"", "whsec_", "whsec_%%%%", "whsec_YQ"};
    struct ms_webhook *webhook = NULL;
    struct ms_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ms_webhook_new(wrong[i], NULL, NULL, &webhook, &err), MS_EUSAGE);
    assert_null(strstr(err.text, "YQ")); /* secrets are not told */
    assert_int_equal(ms_webhook_new(NULL, "nowhere/8", NULL, &webhook, &err), MS_EUSAGE);
    assert_null(webhook);
    ms_webhook_free(NULL);
}

static void waits_longer_each_time(void **state) {
    static const int64_t delays_s[] = {5, 30, 120, 600, 3600, 21600, 86400};
    (void)state;
    for (int i = 0; i < 7; i++)
        assert_in_range(ms_webhook_again_ms(2, i), delays_s[i] * 800, delays_s[i] * 1000);
    assert_true(ms_webhook_again_ms(2, 7) < 0);
    assert_in_range(ms_webhook_again_ms(1, 0) + ms_webhook_again_ms(1, 1), 1, 60000);
    assert_true(ms_webhook_again_ms(1, 2) < 0);
    assert_true(ms_webhook_again_ms(2, -1) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_public_addresses_from_others),
        cmocka_unit_test(allows_what_it_is_told),
        cmocka_unit_test(each_host_is_called_by_one_at_a_time),
        cmocka_unit_test(signs_as_the_standard_says),
        cmocka_unit_test(version_1_sends_the_data_alone),
        cmocka_unit_test(version_2_sends_the_job_signed),
        cmocka_unit_test(reaches_no_private_address),
        cmocka_unit_test(a_status_that_came_is_the_answer),
        cmocka_unit_test(judges_answers),
        cmocka_unit_test(gives_up_what_cannot_be_delivered),
        cmocka_unit_test(refuses_bad_settings),
        cmocka_unit_test(waits_longer_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
