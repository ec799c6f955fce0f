/* The page: GET /, and GET /assets/FILE for what it links to, as src/web/build.mjs made it. All is
 * built in; a binary without the page has a short one instead. On the loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "document.h"
#include "handlers.h"
#include "reply.h"

#define INDEX "index.html"

/* The page shows, runs and asks for what this service gives, and nothing else. */
static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

static const unsigned char short_page[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<head><meta charset=\"utf-8\"><title>msaas</title></head>\n"
    "<body>\n"
    "<h1>Music separation as a service</h1>\n"
    "<p>Send a song, get its stems: vocals, drums, bass and the rest, each as a file.</p>\n"
    "<pre>curl --data-binary @song.mp3 -H 'Content-Type: audio/mpeg' URL/apiv2/jobs\n"
    "curl URL/apiv2/jobs/ID\n"
    "curl -O URL/apiv2/jobs/ID/stems/vocals.mp3</pre>\n"
    "<p><a href=\"/apiv2/jobs\">jobs</a>, <a href=\"/apiv2/models\">models</a>,\n"
    "<a href=\"/apiv1/queue\">queue</a></p>\n"
    "</body>\n"
    "</html>\n";
static const struct ms_embedded short_index = {INDEX, short_page, sizeof short_page - 1};

/* NULL: there is no such file. */
static const struct ms_embedded *find(const char *name, const char *ending) {
    const size_t length = strlen(name);
    for (const struct ms_embedded *file = ms_embedded_web; file->name != NULL; file++)
        if (strncmp(file->name, name, length) == 0 && strcmp(file->name + length, ending) == 0)
            return file;
    return NULL;
}

/* Of what the page links to. NULL: it does not link to the like. */
static const char *type_of(const char *name) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".js", "text/javascript; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".svg", "image/svg+xml"},
        {".txt", "text/plain; charset=utf-8"},
    };
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(ending, types[i].ending) == 0)
            return types[i].type;
    return NULL;
}

/* The weight in "gzip ; q=0.5"; 1 where none is given. */
static double weight_of(const char *coding, size_t size) {
    const char *weight = memchr(coding, '=', size);
    return weight != NULL ? strtod(weight + 1, NULL) : 1;
}

/* RFC 9110, 12.5.3: whether gzip is accepted, by its name or else by "*". */
static bool takes_gzip(const char *accepted) {
    double any = 0;
    for (const char *at = accepted; at != NULL && *at != '\0'; at += *at == ',') {
        at += strspn(at, " \t");
        const size_t size = strcspn(at, ","), name = strcspn(at, ",; \t");
        if (name == 4 && strncasecmp(at, "gzip", 4) == 0)
            return weight_of(at, size) > 0;
        if (name == 1 && *at == '*')
            any = weight_of(at, size);
        at += size;
    }
    return any > 0;
}

static void reply_file(const struct ms_http_call *call, const char *type, const char *cache,
                       const struct ms_embedded *plain) {
    const struct ms_embedded *packed =
        takes_gzip(ms_http_header(call, "Accept-Encoding")) ? find(plain->name, ".gz") : NULL;
    if (packed != NULL)
        ms_http_add_header(call, "Content-Encoding", "gzip");
    ms_http_add_header(call, "Vary", "Accept-Encoding");
    ms_http_add_header(call, "Cache-Control", cache);
    ms_http_add_header(call, "Content-Security-Policy", policy);
    ms_http_add_header(call, "Referrer-Policy", "same-origin"); /* none: Origin would be "null" */
    ms_http_add_header(call, "X-Content-Type-Options", "nosniff");
    ms_api_reply_file(call, type, packed != NULL ? packed : plain);
}

void ms_api_page(const struct ms_http_call *call) {
    const struct ms_embedded *index = find(INDEX, "");
    reply_file(call, "text/html; charset=utf-8", "no-cache", index != NULL ? index : &short_index);
}

void ms_api_asset(const struct ms_http_call *call) {
    const char *type = type_of(call->params[0]);
    const struct ms_embedded *file = type != NULL ? find(call->params[0], "") : NULL;
    if (file != NULL) {
        reply_file(call, type, "public, max-age=31536000, immutable", file);
        return;
    }
    struct ms_problem problem;
    (void)ms_problem_set(&problem, 404, "not_found", "the page has no such file");
    ms_api_reply_problem(call, &problem);
}
