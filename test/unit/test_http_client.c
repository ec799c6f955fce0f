/* The HTTP client and downloads, against a server on the loopback interface that also breaks off
 * and misbehaves. */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loopback.h"
#include "msaas/http_client.h"
#include "msaas/sys.h"

#define FILE_BYTES 300000

struct scene {
    char host[64]; /* that allow_address was asked about last */
    struct loopback server;
    struct ms_http_client *client;
    char folder[64], path[96];
    char file[FILE_BYTES];
    const char *etag;
    size_t cut; /* break off after so many bytes of the body; 0: never */
    atomic_int requests, ranges, conditions;
};

static void say(int fd, const char *text) {
    loopback_send(fd, text, strlen(text));
}

static void send_file(struct scene *scene, int fd, const struct loopback_request *request) {
    const char *range = strstr(request->head, "Range: bytes=");
    const char *condition = strstr(request->head, "If-Range: ");
    if (condition != NULL) {
        scene->conditions++;
        if (strncmp(condition + 10, scene->etag, strlen(scene->etag)) != 0)
            range = NULL;
    }
    size_t first = 0;
    char head[400];
    if (range != NULL) {
        scene->ranges++;
        first = strtoul(range + 13, NULL, 10);
        if (first >= FILE_BYTES) {
            say(fd, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: "
                    "close\r\n\r\n");
            return;
        }
        snprintf(head, sizeof head,
                 "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes "
                 "%zu-%d/%d\r\nContent-Length: %zu\r\n"
                 "ETag: %s\r\nConnection: close\r\n\r\n",
                 first, FILE_BYTES - 1, FILE_BYTES, FILE_BYTES - first, scene->etag);
    } else {
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: %s\r\nConnection: close\r\n\r\n",
                 FILE_BYTES, scene->etag);
    }
    say(fd, head);
    size_t size = FILE_BYTES - first;
    loopback_send(fd, scene->file + first, scene->cut > 0 && scene->cut < size ? scene->cut : size);
}

static void answer(void *context, int fd, const struct loopback_request *request) {
    struct scene *scene = context;
    scene->requests++;
    char text[9000];
    if (strcmp(request->path, "/file") == 0) {
        send_file(scene, fd, request);
    } else if (strcmp(request->path, "/echo") == 0) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 201 Created\r\nX-Seen:  %.4s%s\r\nContent-Length: %zu\r\nConnection: "
                 "close\r\n\r\n",
                 request->head, strstr(request->head, "X-Own: yes\r\n") != NULL ? " own" : "",
                 request->body_bytes);
        say(fd, text);
        if (strncmp(request->head, "HEAD", 4) != 0)
            loopback_send(fd, request->body, request->body_bytes);
    } else if (strcmp(request->path, "/moved") == 0) {
        say(fd, "HTTP/1.1 302 Found\r\nX-First: 1\r\nLocation: /file\r\nContent-Length: "
                "3\r\nConnection: close\r\n\r\nabc");
    } else if (strcmp(request->path, "/elsewhere") == 0) {
        snprintf(text, sizeof text,
                 "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/echo\r\nContent-Length: "
                 "0\r\nConnection: close\r\n\r\n",
                 scene->server.port);
        say(fd, text);
    } else if (strcmp(request->path, "/away") == 0) {
        say(fd, "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: "
                "0\r\nConnection: close\r\n\r\n");
    } else if (strcmp(request->path, "/loop") == 0) {
        say(fd, "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: "
                "close\r\n\r\n");
    } else if (strcmp(request->path, "/silent") == 0) {
        char byte;
        (void)!recv(fd, &byte, 1, 0); /* until the client gives up */
    } else {
        say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnone");
    }
}

static int set_up(void **state) {
    struct scene *scene = calloc(1, sizeof *scene);
    for (size_t i = 0; i < FILE_BYTES; i++)
        scene->file[i] = (char)(i * i >> 7);
    scene->etag = "\"one\"";
    strcpy(scene->folder, "/tmp/msaas-test-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    snprintf(scene->path, sizeof scene->path, "%s/file", scene->folder);
    scene->server.answer = answer;
    scene->server.context = scene;
    loopback_start(&scene->server);
    assert_int_equal(ms_http_client_new(&scene->client, NULL), 0);
    *state = scene;
    return 0;
}

static int tear_down(void **state) {
    struct scene *scene = *state;
    ms_http_client_free(scene->client);
    loopback_stop(&scene->server);
    unlink(scene->path);
    rmdir(scene->folder);
    free(scene);
    return 0;
}

static int get(struct scene *scene, const char *path, struct ms_http_request request,
               struct ms_http_response *response, struct ms_error *err) {
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", scene->server.port, path);
    request.url = url;
    if (request.method == NULL)
        request.method = "GET";
    return ms_http_send(scene->client, &request, response, err);
}

static void sends_methods_bodies_and_headers(void **state) {
    struct scene *scene = *state;
    const char *const headers[] = {"X-Own: yes", NULL};
    static const char *const methods[] = {"PUT", "POST", "DELETE"};
    struct ms_http_response response;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            get(scene, "/echo",
                (struct ms_http_request){
                    .method = methods[i], .headers = headers, .body = "hello", .body_bytes = 5},
                &response, NULL),
            0);
        assert_int_equal(response.status, 201);
        assert_string_equal(response.body, "hello");
        assert_memory_equal(ms_http_response_header(&response, "x-seen"), methods[i], 3);
        assert_non_null(strstr(ms_http_response_header(&response, "x-seen"), "own"));
    }
    assert_int_equal(
        get(scene, "/echo", (struct ms_http_request){.method = "HEAD"}, &response, NULL), 0);
    assert_string_equal(ms_http_response_header(&response, "X-Seen"), "HEAD");
    assert_int_equal(response.body_bytes, 0);
    assert_int_equal(get(scene, "/other", (struct ms_http_request){0}, &response, NULL), 0);
    assert_int_equal(response.status, 404);
    assert_string_equal(response.body, "none");
}

static int give(void *context, void *buffer, size_t capacity, size_t *size, struct ms_error *err) {
    int *left = context;
    (void)err;
    *size = capacity < 3 ? capacity : 3;
    memset(buffer, 'x', *size);
    *left -= (int)*size;
    return *left < -100 ? MS_EIO : 0;
}

static void streams_the_request_body(void **state) {
    struct ms_http_response response;
    int left = 1000;
    assert_int_equal(get(*state, "/echo",
                         (struct ms_http_request){
                             .method = "PUT", .read = give, .body_bytes = 1000, .context = &left},
                         &response, NULL),
                     0);
    assert_int_equal(response.body_bytes, 1000);
    assert_int_equal(left, 0);
}

static void follows_few_redirects_and_only_to_http(void **state) {
    struct ms_http_response response;
    struct ms_error err;
    assert_int_equal(
        get(*state, "/moved", (struct ms_http_request){.max_redirects = 3}, &response, &err), 0);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.body_bytes, FILE_BYTES);
    assert_null(ms_http_response_header(&response, "X-First"));
    assert_int_equal(get(*state, "/moved", (struct ms_http_request){0}, &response, &err), 0);
    assert_int_equal(response.status, 302);
    assert_int_equal(
        get(*state, "/loop", (struct ms_http_request){.max_redirects = 3}, &response, &err),
        MS_ENET);
    assert_int_not_equal(
        get(*state, "/away", (struct ms_http_request){.max_redirects = 3}, &response, &err), 0);
}

static void keeps_its_limits(void **state) {
    struct scene *scene = *state;
    struct ms_http_response response;
    struct ms_error err;
    assert_int_equal(
        get(scene, "/file", (struct ms_http_request){.max_bytes = 1000}, &response, &err),
        MS_ETOOLARGE);
    assert_int_equal(
        get(scene, "/silent", (struct ms_http_request){.total_timeout_s = 1}, &response, &err),
        MS_ENET);
    atomic_bool cancel = true;
    assert_int_equal(
        get(scene, "/silent", (struct ms_http_request){.cancel = &cancel}, &response, &err),
        MS_ECANCELED);
    assert_int_equal(
        ms_http_send(scene->client,
                     &(struct ms_http_request){.method = "GET", .url = "file:///etc/passwd"},
                     &response, &err),
        MS_EUSAGE);
    assert_int_equal(
        ms_http_send(scene->client,
                     &(struct ms_http_request){.method = "GET",
                                               .url = "http://u:secret@127.0.0.1:1/a?key=k"},
                     &response, &err),
        MS_ENET);
    assert_non_null(strstr(err.text, "http://127.0.0.1:1/a"));
    assert_null(strstr(err.text, "secret"));
    assert_null(strstr(err.text, "key"));
}

static bool refuse(void *context, const char *host, const struct sockaddr *address) {
    (void)context;
    assert_string_equal(host, "127.0.0.1");
    return address->sa_family != AF_INET;
}

static bool note_host(void *context, const char *host, const struct sockaddr *address) {
    struct scene *scene = context;
    (void)snprintf(scene->host, sizeof scene->host, "%s", host);
    return address->sa_family == AF_INET;
}

static void asks_before_it_connects(void **state) {
    struct scene *scene = *state;
    struct ms_http_response response;
    struct ms_error err;
    assert_int_equal(
        get(scene, "/echo", (struct ms_http_request){.allow_address = refuse}, &response, &err),
        MS_EDENIED);
    assert_true(response.refused);
    assert_int_equal(scene->requests, 0);
}

/* The host is the one that libcurl is about to speak to, however the URL is spelt. */
static void tells_which_host_it_asks_about(void **state) {
    static const char *const urls[][2] = {
        {"http://localhost:%d/echo", "localhost"},      {"http://LocalHost:%d/echo", "LocalHost"},
        {"http://user@127.0.0.1:%d/echo", "127.0.0.1"}, {"http://0x7f.1:%d/echo", "127.0.0.1"},
        {"http://127.0.0.1:%d\\@localhost/echo", NULL}, /* whichever it is, both are loopback */
        {"http://localhost:%d/elsewhere", "127.0.0.1"}, /* of the redirect */
    };
    struct scene *scene = *state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct ms_http_response response;
        char url[100];
        (void)snprintf(url, sizeof url, urls[i][0], scene->server.port);
        scene->host[0] = '\0';
        const struct ms_http_request request = {.method = "GET",
                                                .url = url,
                                                .allow_address = note_host,
                                                .context = scene,
                                                .max_redirects = 1};
        const int rc = ms_http_send(scene->client, &request, &response, NULL);
        if (urls[i][1] == NULL)
            continue;
        assert_int_equal(rc, 0);
        assert_string_equal(scene->host, urls[i][1]);
    }
}

/* ---- names ---- */

static atomic_bool resolver_hangs;
static pthread_mutex_t resolver = PTHREAD_MUTEX_INITIALIZER;

/* Instead of the C library's, in which libcurl looks up names: a name server that does not
 * answer. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    int (*const real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");
    if (strcmp(name, "silent.test") == 0) {
        atomic_store(&resolver_hangs, true);
        (void)pthread_mutex_lock(&resolver);
        (void)pthread_mutex_unlock(&resolver);
        atomic_store(&resolver_hangs, false);
        return EAI_AGAIN;
    }
    return real(name, service, hints, out);
}

/* The name server answers only after the request has ended: whoever waits for it waits for ever. */
static void check_silent_name_server(struct scene *scene, struct ms_http_request request,
                                     int expected) {
    struct ms_http_response response;
    request.method = "GET";
    request.url = "http://silent.test/";
    (void)pthread_mutex_lock(&resolver);
    assert_int_equal(ms_http_send(scene->client, &request, &response, NULL), expected);
    /* libcurl looks it up on a thread, which may begin late. */
    const double until_s = ms_monotonic_s() + 60;
    while (!atomic_load(&resolver_hangs)) {
        assert_true(ms_monotonic_s() < until_s);
        (void)poll(NULL, 0, 1);
    }
    (void)pthread_mutex_unlock(&resolver);
    while (atomic_load(&resolver_hangs))
        (void)poll(NULL, 0, 1);
}

static void a_silent_name_server_does_not_hold_it(void **state) {
    check_silent_name_server(*state, (struct ms_http_request){.total_timeout_s = 1}, MS_ENET);
    /* canceled from the moment on when the name is asked for */
    check_silent_name_server(*state, (struct ms_http_request){.cancel = &resolver_hangs},
                             MS_ECANCELED);
}

static int fetch(struct scene *scene, const char *path, bool *resumed, struct ms_error *err) {
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", scene->server.port, path);
    return ms_http_download(
        scene->client,
        &(struct ms_http_download){.url = url, .path = scene->path, .max_bytes = FILE_BYTES},
        resumed, err);
}

static void check_file(const struct scene *scene) {
    char *got = malloc(FILE_BYTES + 1);
    FILE *file = fopen(scene->path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(got, 1, FILE_BYTES + 1, file), FILE_BYTES);
    assert_memory_equal(got, scene->file, FILE_BYTES);
    fclose(file);
    free(got);
}

static void begin_file(const struct scene *scene, size_t size) {
    FILE *file = fopen(scene->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(scene->file, 1, size, file), size);
    fclose(file);
}

static void downloads_in_spite_of_breaks(void **state) {
    struct scene *scene = *state;
    scene->cut = 70000;
    bool resumed;
    assert_int_equal(fetch(scene, "/file", &resumed, NULL), 0);
    assert_false(resumed);
    assert_int_equal(scene->requests, 5);
    assert_int_equal(scene->ranges, 4);
    assert_int_equal(scene->conditions, 4);
    check_file(scene);
}

static void goes_on_with_an_earlier_run(void **state) {
    struct scene *scene = *state;
    begin_file(scene, 123457);
    bool resumed;
    assert_int_equal(fetch(scene, "/file", &resumed, NULL), 0);
    assert_true(resumed);
    assert_int_equal(scene->ranges, 1);
    check_file(scene);
    assert_int_equal(fetch(scene, "/file", &resumed, NULL), 0); /* it is whole already */
    assert_true(resumed);
    check_file(scene);
}

static void tells_why_it_failed(void **state) {
    struct scene *scene = *state;
    struct ms_error err;
    bool resumed;
    assert_int_equal(fetch(scene, "/nothing", &resumed, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, "404"));
    begin_file(scene, 0);
    assert_int_equal(ms_http_download(scene->client,
                                      &(struct ms_http_download){.url = "http://127.0.0.1:1/",
                                                                 .path = "/nonexistent/file",
                                                                 .max_bytes = 10},
                                      &resumed, &err),
                     MS_EIO);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(sends_methods_bodies_and_headers),
        TEST(streams_the_request_body),
        TEST(follows_few_redirects_and_only_to_http),
        TEST(keeps_its_limits),
        TEST(asks_before_it_connects),
        TEST(tells_which_host_it_asks_about),
        TEST(a_silent_name_server_does_not_hold_it),
        TEST(downloads_in_spite_of_breaks),
        TEST(goes_on_with_an_earlier_run),
        TEST(tells_why_it_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
