/* Who may ask for what: every route with every kind of caller, over real sockets. A new route is
 * tried by itself; one that is to be open to all stands in `open_routes`. */
#include "api_site.h"

#include "caller.h"
#include "link.h"
#include "token_file.h"

#define DAY_MS INT64_C(86400000)

static char tokens[128];
static struct ms_accounts *accounts;
static struct ms_api *guarded, *v1_open, *v1_off;
static struct peer guarded_peer, open_peer, off_peer;

enum { NOBODY, GUESS, EXPIRED, SUBMIT, READ, ADMIN, CALLERS };
static char secrets[CALLERS][MS_TOKEN_CHARS + 1];
static const unsigned scopes_of[CALLERS] = {
    [SUBMIT] = MS_SCOPE_SUBMIT, [READ] = MS_SCOPE_READ, [ADMIN] = MS_SCOPE_ADMIN};

static struct ms_api *start(struct peer *to, enum ms_api_v1 v1) {
    static struct ms_networks *proxies;
    struct ms_http_server_options listen = {.host = "127.0.0.1", .threads = 4};
    const struct ms_api_options options = {.queue_url = queue_url,
                                           .store = {.url = store_url, .create_buckets = true},
                                           .models = models,
                                           .model_count = 2,
                                           .max_song_bytes = MAX_SONG,
                                           .accounts = accounts,
                                           .v1 = v1};
    struct ms_error err = {0};
    struct ms_api *made = NULL;
    if (proxies == NULL)
        assert_int_equal(ms_networks_parse("127.0.0.1", &proxies, NULL), 0);
    if (ms_api_new(&options, &made, &err) != 0)
        fail_msg("%s", err.text);
    ms_api_serve(made, &listen);
    listen.trusted_proxies = proxies;
    peer_start(to, &listen);
    return made;
}

static int set_up_accounts(void **state) {
    int rc = set_up(state);
    (void)snprintf(tokens, sizeof tokens, "%s/tokens.json", folder);
    put_token(tokens, "old", MS_SCOPE_ADMIN, ms_unix_ms() - DAY_MS, secrets[EXPIRED]);
    put_token(tokens, "sub", scopes_of[SUBMIT], 0, secrets[SUBMIT]);
    put_token(tokens, "read", scopes_of[READ], 0, secrets[READ]);
    put_token(tokens, "boss", scopes_of[ADMIN], 0, secrets[ADMIN]);
    memcpy(secrets[GUESS], secrets[ADMIN], sizeof secrets[GUESS]);
    char *last = &secrets[GUESS][MS_TOKEN_CHARS - 10];
    *last = *last == 'A' ? 'B' : 'A';
    assert_int_equal(ms_accounts_open(tokens, &accounts, NULL), 0);
    guarded = start(&guarded_peer, MS_API_V1_TOKEN);
    v1_open = start(&open_peer, MS_API_V1_OPEN);
    v1_off = start(&off_peer, MS_API_V1_OFF);
    return rc;
}

static int tear_down_accounts(void **state) {
    peer_stop(&guarded_peer, 1000);
    peer_stop(&open_peer, 1000);
    peer_stop(&off_peer, 1000);
    ms_api_free(guarded);
    ms_api_free(v1_open);
    ms_api_free(v1_off);
    ms_accounts_close(accounts);
    return tear_down(state);
}

static struct answer ask_as(const struct peer *to, const char *method, const char *path,
                            const char *secret, const char *more) {
    char headers[512] = "";
    if (*secret != '\0')
        (void)snprintf(headers, sizeof headers, "Authorization: Bearer %s\r\n", secret);
    (void)snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "%s", more);
    return call_at(to->port, method, path, headers, "", 0);
}

/* ---- every route ---- */

static bool is_open(const struct ms_http_route *route) {
    static const char *const open_routes[] = {
        "GET /",       "GET /assets/{}",    "GET /healthz",
        "GET /readyz", "GET /openapi.json", "DELETE /apiv2/session"};
    char text[128];
    if (strcmp(route->method, "OPTIONS") == 0) /* what the server can do, not what it holds */
        return true;
    (void)snprintf(text, sizeof text, "%s %s", route->method, route->pattern);
    for (size_t i = 0; i < sizeof open_routes / sizeof *open_routes; i++)
        if (strcmp(text, open_routes[i]) == 0)
            return true;
    return false;
}

/* The pattern with a well-formed id in each place. */
static void fill(const char *pattern, char path[512]) {
    size_t length = 0;
    for (; *pattern != '\0'; pattern++) {
        if (strncmp(pattern, "{}", 2) == 0) {
            length += (size_t)snprintf(path + length, 512 - length, "%s", ID0);
            pattern++;
        } else {
            path[length++] = *pattern;
        }
    }
    path[length] = '\0';
}

static void each_route_asks_for_its_scope(void **state) {
    (void)state;
    int count = 0;
    for (const struct ms_http_route *route = guarded->routes; route->method != NULL; route++) {
        const unsigned needed = guarded->scopes[route - guarded->routes];
        char path[512];
        fill(route->pattern, path);
        assert_true(needed != 0);
        assert_int_equal((needed & MS_API_OPEN) != 0, is_open(route));
        for (int who = NOBODY; who < CALLERS; who++, count++) {
            struct answer answer = ask_as(&guarded_peer, route->method, path, secrets[who], "");
            const bool may = is_open(route) || (scopes_of[who] & (needed | MS_SCOPE_ADMIN)) != 0;
            const int refused = may ? 0 : who <= EXPIRED ? 401 : 403;
            const char *challenge = header(&answer, "WWW-Authenticate");
            if (refused != 0 ? answer.status != refused
                             : answer.status == 401 || answer.status == 403)
                fail_msg("%s %s by %d: %.300s", route->method, path, who, answer.text);
            if (refused != 0 && strncmp(challenge, "Bearer realm=\"msaas\"", 20) != 0)
                fail_msg("%s %s: %.300s", route->method, path, answer.text);
            answer_free(&answer);
        }
    }
    assert_true(count > 100);
}

static void refusals_have_the_form_of_their_api(void **state) {
    (void)state;
    expect_problem("none", ask_as(&guarded_peer, "GET", "/apiv2/jobs", "", ""), 401,
                   "unauthorized");
    expect_problem("v1", ask_as(&guarded_peer, "GET", "/apiv1/queue", "", ""), 401, NULL);
    expect_problem("scope", ask_as(&guarded_peer, "GET", "/apiv2/jobs", secrets[SUBMIT], ""), 403,
                   "insufficient_scope");
    expect_problem("Basic",
                   ask_as(&guarded_peer, "GET", "/apiv2/jobs", "", "Authorization: Basic YTpi\r\n"),
                   401, "unauthorized");
    struct answer guess = ask_as(&guarded_peer, "GET", "/apiv2/jobs", secrets[GUESS], "");
    struct answer old = ask_as(&guarded_peer, "GET", "/apiv2/jobs", secrets[EXPIRED], "");
    assert_string_equal(guess.body, old.body); /* nothing tells them apart */
    assert_string_equal(header(&guess, "WWW-Authenticate"),
                        "Bearer realm=\"msaas\", error=\"invalid_token\"");
    answer_free(&guess);
    answer_free(&old);
    struct answer blanks =
        ask_as(&guarded_peer, "GET", "/apiv2/models", "", "Authorization: bEARER   nothing\r\n");
    assert_int_equal(blanks.status, 401);
    answer_free(&blanks);
}

/* Nothing of a body is taken before the token is seen. */
static void a_song_without_a_token_is_not_read(void **state) {
    (void)state;
    const int fd = dial(guarded_peer.port);
    assert_true(say_text(fd, "POST /apiv2/jobs HTTP/1.1\r\nHost: localhost\r\n"
                             "Expect: 100-continue\r\nContent-Length: 90000\r\n\r\n"));
    char *text = hear_until(fd, "\r\n\r\n");
    assert_int_equal(status_of(text), 401);
    free(text);
    close(fd);
}

static void an_idempotency_key_is_its_account_s_own(void **state) {
    static const struct {
        int caller, song, status;
    } cases[] = {{SUBMIT, 0, 202}, {ADMIN, 1, 202}, {SUBMIT, 1, 422}, {SUBMIT, 0, 202}};
    char songs[2][64], headers[300], ids[2][MS_JOB_ID_HEX];
    const size_t sizes[] = {new_song(songs[0]), new_song(songs[1])};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (void)snprintf(headers, sizeof headers,
                       "Authorization: Bearer %s\r\nIdempotency-Key: \"same\"\r\n",
                       secrets[cases[i].caller]);
        struct answer answer = call_at(guarded_peer.port, "POST", "/apiv2/jobs", headers,
                                       songs[cases[i].song], sizes[cases[i].song]);
        expect(headers, &answer, cases[i].status);
        if (answer.status == 202)
            (void)snprintf(ids[cases[i].song], MS_JOB_ID_HEX, "%s", member(&answer, "id"));
        answer_free(&answer);
    }
    erase(ids[0]);
    erase(ids[1]);
}

/* ---- /apiv1 ---- */

static void v1_may_be_open_or_off(void **state) {
    (void)state;
    struct answer answer = ask_as(&open_peer, "GET", "/apiv1/queue", "", "");
    expect("open", &answer, 200);
    answer_free(&answer);
    expect_problem("open", ask_as(&open_peer, "GET", "/apiv1/queue", secrets[GUESS], ""), 401,
                   NULL);
    expect_problem("open", ask_as(&open_peer, "GET", "/apiv2/jobs", "", ""), 401, "unauthorized");
    expect_problem("off", ask_as(&off_peer, "GET", "/apiv1/queue", secrets[ADMIN], ""), 404, NULL);
    expect_problem("off", ask_as(&off_peer, "POST", "/apiv1/separate", secrets[ADMIN], ""), 404,
                   NULL);
    answer = ask_as(&off_peer, "GET", "/apiv2/jobs", secrets[READ], "");
    expect("off", &answer, 200);
    answer_free(&answer);
}

/* ---- sessions ---- */

static void log_in(const char *secret, const char *more, char cookie[256]) {
    struct answer answer = ask_as(&guarded_peer, "POST", "/apiv2/session", secret, more);
    expect("log in", &answer, 200);
    (void)snprintf(cookie, 256, "%s", header(&answer, "Set-Cookie"));
    answer_free(&answer);
}

static struct answer with_cookie(const char *method, const char *path, const char *cookie,
                                 const char *more) {
    char headers[512];
    (void)snprintf(headers, sizeof headers, "Cookie: theme=dark; %.*s\r\n%s",
                   (int)strcspn(cookie, ";"), cookie, more);
    return ask_as(&guarded_peer, method, path, "", headers);
}

static void a_session_stands_for_its_token(void **state) {
    (void)state;
    char cookie[256];
    log_in(secrets[READ], "", cookie);
    assert_non_null(strstr(cookie, "msaas_session=read."));
    assert_non_null(strstr(cookie, "; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"));
    assert_null(strstr(cookie, "Secure"));
    char secure[256];
    log_in(secrets[READ], "X-Forwarded-Proto: https\r\n", secure);
    assert_non_null(strstr(secure, "SameSite=Strict; Secure"));

    struct answer answer = with_cookie("GET", "/apiv2/jobs", cookie, "");
    expect("a session", &answer, 200);
    answer_free(&answer);
    expect_problem(
        "scope",
        with_cookie("DELETE", "/apiv2/jobs/" ID0, cookie, "Sec-Fetch-Site: same-origin\r\n"), 403,
        "insufficient_scope");
    expect_problem("forged",
                   with_cookie("GET", "/apiv2/jobs", "msaas_session=boss.4102444800.00", ""), 401,
                   "unauthorized");
    expect_problem("token first",
                   with_cookie("GET", "/apiv2/jobs", cookie, "Authorization: Bearer x\r\n"), 401,
                   "unauthorized");
    expect_problem("of a session",
                   with_cookie("POST", "/apiv2/session", cookie, "Sec-Fetch-Site: same-origin\r\n"),
                   401, "unauthorized");
    answer = with_cookie("DELETE", "/apiv2/session", cookie, "");
    expect("log out", &answer, 204);
    assert_non_null(strstr(header(&answer, "Set-Cookie"), "msaas_session=; Path=/; Max-Age=0"));
    answer_free(&answer);
    expect_problem("no token", ask_as(&guarded_peer, "POST", "/apiv2/session", "", ""), 401,
                   "unauthorized");
    expect_problem("no accounts", ask_as(&peer, "POST", "/apiv2/session", "", ""), 404,
                   "no_accounts");
}

/* What a page of somebody else's can have a browser send, should it add the cookie. */
static void pages_of_others_have_no_session(void **state) {
    (void)state;
    char cookie[256];
    log_in(secrets[ADMIN], "", cookie);
    static const struct {
        const char *method, *headers;
        int status;
    } cases[] = {
        {"GET", "", 404},
        {"GET", "Sec-Fetch-Site: none\r\n", 404}, /* typed by its user */
        {"GET", "Sec-Fetch-Site: same-origin\r\n", 404},
        {"GET", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"GET", "Sec-Fetch-Site: same-site\r\n", 403},
        {"GET", "Origin: http://evil.example\r\n", 403},
        {"DELETE", "", 403},
        {"DELETE", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"DELETE", "Origin: http://evil.example\r\n", 403},
        {"DELETE", "Origin: null\r\n", 403},
        {"DELETE", "Origin: http://localhost\r\n", 404},
        {"DELETE", "Origin: http://localhost\r\nSec-Fetch-Site: cross-site\r\n", 403},
        {"DELETE", "Sec-Fetch-Site: same-origin\r\n", 404},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer answer =
            with_cookie(cases[i].method, "/apiv2/jobs/" ID0, cookie, cases[i].headers);
        if (answer.status != cases[i].status)
            fail_msg("%s %s: %.300s", cases[i].method, cases[i].headers, answer.text);
        answer_free(&answer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_route_asks_for_its_scope),
        cmocka_unit_test(refusals_have_the_form_of_their_api),
        cmocka_unit_test(a_song_without_a_token_is_not_read),
        cmocka_unit_test(an_idempotency_key_is_its_account_s_own),
        cmocka_unit_test(v1_may_be_open_or_off),
        cmocka_unit_test(a_session_stands_for_its_token),
        cmocka_unit_test(pages_of_others_have_no_session),
    };
    return cmocka_run_group_tests(tests, set_up_accounts, tear_down_accounts);
}
