/* Who asks behind proxies, and whether a page of another origin does: from heads as they come. */
#include "forwarded.h"
#include "origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* `lines` end with CR LF each. */
static void parse(char *space, size_t capacity, const char *lines, struct ms_http_head *head) {
    const int size = snprintf(space, capacity, "GET / HTTP/1.1\r\n%s%s\r\n",
                              strstr(lines, "Host:") == lines ? "" : "Host: h\r\n", lines);
    assert_true(size > 0 && (size_t)size < capacity);
    assert_int_equal(ms_http_parse_head(space, (size_t)size, head), 0);
}

/* ---- forwarded ---- */

#define PROXY "10.0.0.1"

static void believes_trusted_proxies_only(void **state) {
    static const struct {
        const char *peer, *lines, *client;
    } cases[] = {
        {PROXY, "", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
        {"192.0.2.9", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.9"},
        {"192.0.2.9", "Forwarded: for=192.0.2.1\r\n", "192.0.2.9"},
        /* the last one that no trusted proxy has */
        {PROXY, "X-Forwarded-For: 1.1.1.1, 192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.0.0.2, fd00::1\r\n", "192.0.2.1"},
        {PROXY, "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.3"},
        {PROXY, "X-Forwarded-For: 127.0.0.1\r\n", "127.0.0.1"},
        {PROXY, "x-forwarded-for: \t192.0.2.1:4711\t,\r\n", "192.0.2.1"},
        {PROXY, "X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"},
        {PROXY, "X-Forwarded-For: [2001:db8::7]:80\r\n", "2001:db8::7"},
        {PROXY, "X-Forwarded-For: ::ffff:192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "Forwarded: for=192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "Forwarded: for=1.1.1.1, FOR=192.0.2.1;proto=http;by=10.0.0.1\r\n", "192.0.2.1"},
        {PROXY, "Forwarded: proto=https; for=\"[2001:db8::7]:4711\"\r\n", "2001:db8::7"},
        {PROXY, "Forwarded: for=\"192.0.2.1:_port\"\r\n", PROXY},
        {PROXY, "Forwarded: for=\"192.0.2\\.1\"\r\n", "192.0.2.1"},
        /* what cannot be read hides what is left of it */
        {PROXY, "X-Forwarded-For: 192.0.2.1, unknown\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1, unknown, 10.0.0.2, 10.0.0.3\r\n", "10.0.0.2"},
        {PROXY, "X-Forwarded-For: unknown, 192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "X-Forwarded-For: 192.0.2.01\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1.\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 0xc0000201\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 3221225985\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1:\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1:1:2\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1:123456\r\n", PROXY},
        {PROXY, "X-Forwarded-For: [192.0.2.1]\r\n", PROXY},
        {PROXY, "X-Forwarded-For: [2001:db8::7\r\n", PROXY},
        {PROXY, "X-Forwarded-For: [2001:db8::7]x\r\n", PROXY},
        {PROXY, "X-Forwarded-For: fe80::1%eth0\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 192.0.2.1 192.0.2.2\r\n", PROXY},
        {PROXY, "X-Forwarded-For: localhost\r\n", PROXY},
        {PROXY, "X-Forwarded-For: 1111:2222:3333:4444:5555:6666:7777:8888:9999:0:0:0:0:0:0\r\n",
         PROXY},
        {PROXY, "Forwarded: for=unknown\r\n", PROXY},
        {PROXY, "Forwarded: for=_hidden\r\n", PROXY},
        {PROXY, "Forwarded: proto=https\r\n", PROXY},
        {PROXY, "Forwarded: for=192.0.2.1, proto=https\r\n", PROXY},
        {PROXY, "Forwarded: for=192.0.2.1;for=192.0.2.2\r\n", PROXY},
        {PROXY, "Forwarded: for=unknown;for=192.0.2.2\r\n", PROXY},
        {PROXY, "Forwarded: for\r\n", PROXY},
        {PROXY, "Forwarded: for=\r\n", PROXY},
        {PROXY, "Forwarded: =192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: 192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: for =192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: xfor=192.0.2.1\r\n", PROXY},
        /* a quote that the client opened swallows what the proxy appended */
        {PROXY, "Forwarded: for=192.0.2.9;x=\", for=192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: for=192.0.2.9;x=\", for=\"[2001:db8::7]:1\"\r\n", PROXY},
        {PROXY, "Forwarded: for=192.0.2.9;x=\"\\\", for=192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: x=\"\r\nForwarded: for=192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "Forwarded: x=\",\", for=192.0.2.1\r\n", "192.0.2.1"},
        /* two headers: the proxy writes one and passes on the other, whichever it is */
        {PROXY, "Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
        {PROXY, "Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: unknown\r\nX-Forwarded-For: 192.0.2.1\r\n", PROXY},
        {PROXY, "Forwarded: for=192.0.2.1\r\nX-Forwarded-For:\r\n", PROXY},
        {"fd00::9", "X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"},
    };
    struct ms_networks *trusted;
    (void)state;
    assert_int_equal(ms_networks_parse("10.0.0.0/24, fd00::/8", &trusted, NULL), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char space[1024], text[MS_IP_TEXT_BYTES];
        struct ms_http_head head;
        uint8_t peer[16], client[16];
        parse(space, sizeof space, cases[i].lines, &head);
        assert_true(ms_ip_parse(cases[i].peer, peer));
        ms_forwarded_client(&head, trusted, peer, client);
        if (strcmp(ms_ip_text(client, text), cases[i].client) != 0)
            fail_msg("%s\"%s\" is of %s, not of %s", cases[i].lines, cases[i].peer, cases[i].client,
                     text);
        ms_forwarded_client(&head, NULL, peer, client); /* nobody is trusted */
        assert_memory_equal(client, peer, sizeof peer);
    }
    ms_networks_free(trusted);
}

static void learns_of_tls(void **state) {
    static const struct {
        const char *lines;
        bool https;
    } cases[] = {
        {"", false},
        {"X-Forwarded-Proto: https\r\n", true},
        {"X-Forwarded-Proto: HTTPS\r\n", true},
        {"X-Forwarded-Proto: http\r\n", false},
        {"X-Forwarded-Proto: https, http\r\n", true}, /* by two proxies */
        {"X-Forwarded-Proto: httpsx\r\n", false},
        {"Forwarded: for=192.0.2.1;proto=https\r\n", true},
        {"Forwarded: Proto=\"HTTPS\";for=192.0.2.1, for=10.0.0.2\r\n", true},
        {"Forwarded: for=192.0.2.1;proto=http\r\n", false},
        {"Forwarded: for=\"proto=https\"\r\n", false},
        {"Forwarded: host=https\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char space[1024];
        struct ms_http_head head;
        parse(space, sizeof space, cases[i].lines, &head);
        if (ms_forwarded_https(&head) != cases[i].https)
            fail_msg("%s", cases[i].lines);
    }
}

/* ---- origin ---- */

static void lets_only_its_own_pages_ask(void **state) {
    static const struct {
        const char *lines;
        bool proxied;
        int status;
    } cases[] = {
        {"", false, 0},
        {"Host: a.example\r\nOrigin: http://a.example\r\n", false, 0},
        {"Host: a.example\r\nOrigin: https://A.EXAMPLE\r\n", false, 0},
        {"Host: a.example:80\r\nOrigin: http://a.example\r\n", false, 0},
        {"Host: a.example\r\nOrigin: http://a.example:80\r\n", false, 0},
        {"Host: a.example:443\r\nOrigin: https://a.example\r\n", false, 0},
        {"Host: localhost:5000\r\nOrigin: http://localhost:5000\r\n", false, 0},
        {"Host: [::1]:5000\r\nOrigin: http://[::1]:5000\r\n", false, 0},
        {"Host: a.example\r\nOrigin: http://b.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: null\r\n", false, 403},
        {"Host: a.example\r\nOrigin:\r\n", false, 403},
        {"Host: a.example\r\nOrigin: a.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: ftp://a.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://a.example/\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://x@a.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://a.example.evil.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://evil.example#a.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://a.example http://b.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://a.example\r\nOrigin: http://b.example\r\n", false, 403},
        {"Host: a.example\r\nOrigin: http://a.example:8080\r\n", false, 403},
        {"Host: localhost:5000\r\nOrigin: http://localhost:3000\r\n", false, 403},
        {"Host: localhost:5000\r\nOrigin: http://127.0.0.1:5000\r\n", false, 403},
        {"Host: a.example:443\r\nOrigin: http://a.example\r\n", false, 403},
        {"Host:\r\nOrigin: http://\r\n", false, 403},
        /* a proxy that is trusted names the service */
        {"Host: pod:5000\r\nX-Forwarded-Host: a.example\r\nOrigin: https://a.example\r\n", true, 0},
        {"Host: pod\r\nX-Forwarded-Host: b, a.example\r\nOrigin: https://a.example\r\n", true, 0},
        {"Host: pod\r\nX-Forwarded-Host: a.example, b\r\nOrigin: https://a.example\r\n", true, 403},
        {"Host: pod:5000\r\nX-Forwarded-Host: a.example\r\nOrigin: http://a.example\r\n", false,
         403},
    };
    const struct ms_origin_rules rules = {0};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char space[1024];
        struct ms_http_head head;
        const char *reason = NULL;
        parse(space, sizeof space, cases[i].lines, &head);
        const int status = ms_origin_judge(&head, &rules, cases[i].proxied, &reason);
        if (status != cases[i].status || (status != 0 && reason == NULL))
            fail_msg("%sis judged %d, not %d", cases[i].lines, status, cases[i].status);
    }
}

static void goes_by_no_strange_name(void **state) {
    static const struct {
        const char *host;
        int status; /* without names that are allowed */
        int allowed;
        int elsewhere; /* than on loopback, with names that are allowed */
    } cases[] = {
        {"localhost", 0, 0, 0},
        {"LocalHost:5000", 0, 0, 0},
        {"127.0.0.1:1", 0, 0, 0},
        {"127.255.1.2", 0, 0, 0},
        {"[::1]:5000", 0, 0, 0},
        {"[::ffff:127.0.0.1]", 0, 0, 0},
        {"music.example", 421, 0, 0},
        {"MUSIC.example:5000", 421, 0, 0},
        {"other", 421, 0, 0},
        {"evil.example", 421, 421, 421},
        {"evil.example:5000", 421, 421, 421},
        {"localhost.evil.example", 421, 421, 421},
        {"evil.localhost", 421, 421, 421},
        {"127.0.0.1.evil.example", 421, 421, 421},
        {"music.example.evil.example", 421, 421, 421},
        {"127.1", 421, 421, 421},
        {"2130706433", 421, 421, 421},
        {"0.0.0.0:5000", 421, 421, 0},
        {"10.0.0.1", 421, 421, 0},
        {"[::]", 421, 421, 0},
        {"[::1", 421, 421, 421},
        {"[::1]x", 421, 421, 421},
        {"::1", 421, 421, 421},
        {"localhost:port", 421, 421, 421},
        {"localhost:5000:1", 421, 421, 421},
        {":5000", 421, 421, 421},
        {"", 421, 421, 421},
    };
    struct ms_origin_rules rules = {0};
    struct ms_http_head head;
    char space[1024], line[256];
    const char *reason;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(line, sizeof line, "Host: %s\r\n", cases[i].host);
        parse(space, sizeof space, line, &head);
        rules = (struct ms_origin_rules){0};
        assert_int_equal(ms_origin_judge(&head, &rules, false, &reason), 0);
        rules = (struct ms_origin_rules){.loopback = true};
        if (ms_origin_judge(&head, &rules, false, &reason) != cases[i].status)
            fail_msg("%s is not judged %d", cases[i].host, cases[i].status);
        rules = (struct ms_origin_rules){.loopback = true, .allowed_hosts = "other,music.example"};
        if (ms_origin_judge(&head, &rules, false, &reason) != cases[i].allowed)
            fail_msg("%s is not judged %d where names are allowed", cases[i].host,
                     cases[i].allowed);
        rules = (struct ms_origin_rules){.allowed_hosts = "other,music.example"};
        if (ms_origin_judge(&head, &rules, false, &reason) != cases[i].elsewhere)
            fail_msg("%s is not judged %d elsewhere than on loopback", cases[i].host,
                     cases[i].elsewhere);
    }
    parse(space, sizeof space, "Host: evil.example\r\n", &head);
    rules = (struct ms_origin_rules){.loopback = true, .allowed_hosts = "*"};
    assert_int_equal(ms_origin_judge(&head, &rules, false, &reason), 0);
    rules = (struct ms_origin_rules){.allowed_hosts = "*"};
    assert_int_equal(ms_origin_judge(&head, &rules, false, &reason), 0);
    char old[] = "GET / HTTP/1.0\r\n\r\n"; /* no browser */
    assert_int_equal(ms_http_parse_head(old, sizeof old - 1, &head), 0);
    rules = (struct ms_origin_rules){.loopback = true};
    assert_int_equal(ms_origin_judge(&head, &rules, false, &reason), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_of_tls),
        cmocka_unit_test(believes_trusted_proxies_only),
        cmocka_unit_test(lets_only_its_own_pages_ask),
        cmocka_unit_test(goes_by_no_strange_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
