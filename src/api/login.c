/* Sessions for pages: a token is traded for a cookie that scripts cannot read. On the loop. */
#include <stdio.h>

#include "caller.h"
#include "handlers.h"
#include "link.h"
#include "msaas/sys.h"
#include "msaas/tokens.h"
#include "reply.h"

#define LIFETIME_MS (INT64_C(12) * 3600 * 1000)

static void set_cookie(const struct ms_http_call *call, const char *session, int64_t age_s) {
    char text[MS_SESSION_BYTES + 128];
    (void)snprintf(text, sizeof text,
                   MS_API_SESSION_COOKIE "=%s; Path=/; Max-Age=%lld; HttpOnly; SameSite=Strict%s",
                   session, (long long)age_s, call->is_https ? "; Secure" : "");
    ms_http_add_header(call, "Set-Cookie", text);
}

static void reply_session(const struct ms_http_call *call, const struct ms_account *account,
                          int64_t expires_ms) {
    char scopes[MS_SCOPES_TEXT_BYTES], expires[MS_TOKEN_TIME_BYTES];
    struct ms_json_writer *w = ms_json_writer_new();
    ms_scopes_text(account->scopes, scopes);
    ms_token_time(expires_ms, expires);
    if (w != NULL) {
        ms_json_begin_object(w, NULL);
        ms_json_put_string(w, "name", account->name);
        ms_json_put_string(w, "scopes", scopes);
        ms_json_put_string(w, "expires_at", expires);
        ms_json_end_object(w);
    }
    ms_api_reply_writer(call, 200, w);
}

void ms_api_v2_session_begin(const struct ms_http_call *call) {
    const struct ms_api *api = call->context;
    const struct ms_account *account = ms_api_caller(call->exchange);
    struct ms_problem problem;
    char session[MS_SESSION_BYTES];
    int64_t expires_ms;
    if (account == NULL) {
        (void)ms_problem_set(&problem, 404, "no_accounts",
                             "this server has no accounts: nothing here needs a token");
        ms_api_reply_problem(call, &problem);
    } else if (ms_http_header(call, "Authorization") == NULL) { /* or a session would never end */
        (void)ms_problem_set(&problem, 401, "unauthorized",
                             "a session begins with a token: send Authorization: Bearer TOKEN");
        ms_http_add_header(call, "WWW-Authenticate", "Bearer realm=\"msaas\"");
        ms_api_reply_problem(call, &problem);
    } else if (ms_session_begin(api->options.accounts, account->name, LIFETIME_MS, session,
                                &expires_ms, NULL) == 0) {
        set_cookie(call, session, (expires_ms - ms_unix_ms() + 999) / 1000);
        reply_session(call, account, expires_ms);
    } /* otherwise it was revoked just now, and the client gets 500 */
}

void ms_api_v2_session_end(const struct ms_http_call *call) {
    set_cookie(call, "", 0);
    ms_http_reply(call, 204, NULL, NULL, 0);
}
