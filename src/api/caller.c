/* Who asks: the token in Authorization, or the session in a cookie. The account stays with the
 * exchange, in the server's space for notes. On the loop; scrypt, for the first request with a
 * token, on the pool. */
#include "caller.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "link.h"
#include "reply.h"

struct caller {
    bool known;
    struct ms_account account;
};
_Static_assert(sizeof(struct caller) <= MS_HTTP_NOTES_BYTES, "MS_HTTP_NOTES_BYTES is too small");

const struct ms_account *ms_api_caller(const struct ms_exchange *exchange) {
    const struct caller *caller = ms_http_notes(exchange);
    return caller->known ? &caller->account : NULL;
}

bool ms_api_is_v1(const char *path) {
    return strncmp(path, "/apiv1/", 7) == 0;
}

bool ms_api_is_foreign(const struct ms_http_call *call) {
    const char *site = ms_http_header(call, "Sec-Fetch-Site");
    if (ms_http_is_foreign(call)) /* CORS or not */
        return true;
    return site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

/* ---- refusals ---- */

static enum ms_http_verdict refuse(const struct ms_http_call *call,
                                   const struct ms_problem *problem, const char *challenge) {
    if (challenge != NULL)
        ms_http_add_header(call, "WWW-Authenticate", challenge);
    ms_api_reply_problem(call, problem);
    return MS_HTTP_REFUSE;
}

static enum ms_http_verdict unknown_caller(const struct ms_http_call *call, bool shown) {
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 401, "unauthorized", "%s",
                         shown ? "the token or session is unknown, revoked or expired"
                               : "this needs a token: send Authorization: Bearer TOKEN");
    return refuse(call, &problem,
                  shown ? "Bearer realm=\"msaas\", error=\"invalid_token\""
                        : "Bearer realm=\"msaas\"");
}

/* Nobody knows whether the token is good. */
static enum ms_http_verdict unchecked(const struct ms_http_call *call) {
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 503, "no_memory",
                         "the token could not be checked; try again in a moment");
    problem.retry_after_s = 1;
    return refuse(call, &problem, NULL);
}

static enum ms_http_verdict short_of_scope(const struct ms_http_call *call, unsigned scopes) {
    struct ms_problem problem;
    char names[MS_SCOPES_TEXT_BYTES], challenge[128];
    ms_scopes_text(scopes, names);
    (void)ms_problem_set(&problem, 403, "insufficient_scope",
                         "this needs a token with the scope %s", names);
    (void)snprintf(challenge, sizeof challenge,
                   "Bearer realm=\"msaas\", error=\"insufficient_scope\", scope=\"%s\"", names);
    return refuse(call, &problem, challenge);
}

static enum ms_http_verdict foreign_page(const struct ms_http_call *call) {
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 403, "foreign_origin",
                         "the request comes from a web page of another origin");
    return refuse(call, &problem, NULL);
}

/* ---- who it is ---- */

/* The token of "Authorization: Bearer TOKEN"; *size 0: another scheme. */
static const char *bearer(const char *field, size_t *size) {
    *size = 0;
    if (strncasecmp(field, "Bearer ", 7) != 0)
        return field;
    field += 7 + strspn(field + 7, " ");
    *size = strlen(field);
    return field;
}

const char *ms_api_session_of(const char *cookie, size_t *size) {
    const size_t name = sizeof MS_API_SESSION_COOKIE - 1;
    const char *at = cookie;
    while (at != NULL && *at != '\0') {
        at += strspn(at, "; \t");
        const size_t length = strcspn(at, ";");
        if (length > name && at[name] == '=' && memcmp(at, MS_API_SESSION_COOKIE, name) == 0) {
            *size = length - name - 1;
            return at + name + 1;
        }
        at += length;
    }
    return NULL;
}

/* A browser adds cookies to whatever a page has it ask. SameSite keeps them from pages of others;
 * this holds, too, where a browser does not know of it. The server has refused any other Origin. */
static bool is_of_own_page(const struct ms_http_call *call) {
    const bool is_safe = strcmp(call->method, "GET") == 0 || strcmp(call->method, "HEAD") == 0;
    return !ms_api_is_foreign(call) && (is_safe || ms_http_header(call, "Origin") != NULL ||
                                        ms_http_header(call, "Sec-Fetch-Site") != NULL);
}

enum ms_http_verdict ms_api_admit(const struct ms_http_call *call,
                                  const struct ms_http_route *route, bool may_block) {
    const struct ms_api *api = call->context;
    struct ms_accounts *accounts = api->options.accounts;
    const unsigned scopes = api->scopes[route - api->routes];
    const char *field = ms_http_header(call, "Authorization");
    struct caller *caller = ms_http_notes(call->exchange);
    size_t size = 0;
    if ((scopes & MS_API_OPEN) != 0)
        return MS_HTTP_ADMIT;
    const char *session =
        field == NULL ? ms_api_session_of(ms_http_header(call, "Cookie"), &size) : NULL;
    enum ms_token_verdict verdict = MS_TOKEN_UNKNOWN;
    if (field != NULL) {
        const char *token = bearer(field, &size);
        verdict = ms_accounts_check(accounts, token, size, may_block, &caller->account);
    } else if (session != NULL) {
        if (ms_session_check(accounts, session, size, &caller->account))
            verdict = MS_TOKEN_KNOWN;
    } else if (api->options.v1 == MS_API_V1_OPEN && ms_api_is_v1(route->pattern)) {
        caller->account = (struct ms_account){.scopes = MS_SCOPE_SUBMIT | MS_SCOPE_READ};
        verdict = MS_TOKEN_KNOWN;
    }
    if (verdict == MS_TOKEN_UNPROVEN)
        return may_block ? unchecked(call) : MS_HTTP_BLOCKS;
    caller->known = verdict == MS_TOKEN_KNOWN;
    if (!caller->known)
        return unknown_caller(call, field != NULL || session != NULL);
    if (session != NULL && !is_of_own_page(call))
        return foreign_page(call);
    if ((caller->account.scopes & (scopes | MS_SCOPE_ADMIN)) == 0)
        return short_of_scope(call, scopes);
    return MS_HTTP_ADMIT;
}
