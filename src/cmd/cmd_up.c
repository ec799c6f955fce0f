/* `msaas up`: the whole service in one command. Owns its children, one `serve` and N `work` of this
 * same program, on sqlite: and file: in one folder. It starts them, restarts those that crash, and
 * ends them in order. They die with it. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/http_client.h"
#include "msaas/log.h"
#include "msaas/sys.h"
#include "msaas/worker.h"
#include "service.h"

static const char usage[] =
    "Runs the whole service on this machine: REST API, queue, store and workers, with\n"
    "nothing to install. Songs and stems are kept in one folder.\n"
    "\n"
    "Usage: msaas up [OPTIONS]\n"
    "\n"
    "Examples:\n"
    "  msaas up\n"
    "      http://localhost:5000, for this machine only\n"
    "  msaas up --host 0.0.0.0 --port 8080 --workers 2 --data /srv/msaas\n"
    "      for the network, two songs at a time\n"
    "  msaas submit --wait song.mp3\n"
    "      in another terminal\n"
    "\n"
    "Ctrl-C or SIGTERM ends it. The next \"msaas up\" goes on with the jobs that are left.\n"
    "\n"
    "Exit code: 0 ended as asked; 1 could not run; 2 wrong usage.\n";

#define MAX_ARGUMENTS (MS_OPTION_COUNT + 10)
#define FIRST_LOOK_MS 50 /* between two checks of children and /readyz, until it is ready */
#define LOOK_MS 500      /* between two checks of the children, from then on */
#define BACKOFF_S 0.5    /* before a crashed child is restarted; doubled each time */
#define BACKOFF_MAX_S 30
#define STEADY_S 60   /* after a run this long, a restart waits the shortest time again */
#define GIVEN_UP_S 20 /* a first run that ends sooner is not repeated: the child said why */
#define PATIENCE_S 90 /* for the first worker, whose model may be on a slow disk */
#define LAST_WAIT_S 8 /* after --grace, before SIGKILL */

struct child {
    const struct ms_command *command; /* serve or work */
    int number;                       /* number of the worker, from 1 */
    char *arguments[MAX_ARGUMENTS];
    pid_t pid; /* 0: not running */
    double started_s, again_s, backoff_s;
    int starts;
};

struct up {
    struct ms_options *options;
    struct ms_http_client *http;
    char *data; /* absolute */
    const char *host;
    int port;
    char url[300];
    struct child *children; /* [0] is serve */
    int count;
    int ready_fd; /* readable from the first ms_service_tell_ready of a worker on; -1: none yet */
    bool worker_ready;
    bool ready; /* its address was printed */
};

/* ---- what children are given ---- */

static int add(struct child *child, char *word, struct ms_error *err) {
    int count = 0;
    while (child->arguments[count] != NULL)
        count++;
    if (word == NULL || count + 1 >= MAX_ARGUMENTS)
        return ms_error_set(err, MS_ENOMEM, "no memory for a command line");
    child->arguments[count] = word;
    return 0;
}

/* Passes on the command line's options that the child has, too. It inherits the environment. */
static int hand_on(const struct up *up, struct child *child, struct ms_error *err) {
    int rc = 0;
    for (int id = 0; rc == 0 && id < MS_OPTION_COUNT; id++) {
        struct ms_option_view view;
        bool own = id == MS_OPTION_PORT || id == MS_OPTION_HOST;
        if (own || !ms_options_view(up->options, id, &view) || view.given == NULL ||
            !ms_command_has(child->command, (enum ms_option_id)id))
            continue;
        rc = add(child,
                 view.is_flag ? ms_strdupf("--%s", view.name)
                              : ms_strdupf("--%s=%s", view.name, view.given),
                 err);
    }
    return rc;
}

static int plan(struct up *up, struct child *child, const struct ms_command *command, int number,
                struct ms_error *err) {
    const char *model = ms_options_string(up->options, MS_OPTION_MODEL);
    child->command = command;
    child->number = number;
    child->backoff_s = BACKOFF_S;
    int rc = add(child, strdup("msaas"), err);
    if (rc == 0)
        rc = add(child, strdup(command->name), err);
    if (rc == 0)
        rc = add(child, ms_strdupf("--queue=sqlite:%s/queue.db", up->data), err);
    if (rc == 0)
        rc = add(child, ms_strdupf("--store=file:%s/objects", up->data), err);
    if (rc == 0)
        rc = add(child, ms_strdupf("--host=%s", up->host), err);
    if (rc == 0)
        rc = add(child, ms_strdupf("--port=%d", number == 0 ? up->port : 0), err);
    if (rc == 0 && number == 0) /* the workers have no other model */
        rc = add(child, ms_strdupf("--models=%s", model), err);
    return rc == 0 ? hand_on(up, child, err) : rc;
}

/* Refuses a port that is in use; for 0 it finds a free one. */
static int check_port(struct up *up, struct ms_error *err) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof bound;
    char service[8];
    int one = 1;
    (void)snprintf(service, sizeof service, "%d", up->port);
    char host_origin[MS_OPTION_ORIGIN_BYTES];
    (void)ms_options_origin(up->options, MS_OPTION_HOST, host_origin);
    char port_origin[MS_OPTION_ORIGIN_BYTES];
    (void)ms_options_origin(up->options, MS_OPTION_PORT, port_origin);
    int fault = getaddrinfo(up->host, service, &hints, &found);
    if (fault != 0)
        return ms_error_about(err, MS_EUSAGE, host_origin, "%s: %s", up->host, gai_strerror(fault));
    int rc = 0;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0)
        rc = ms_error_set(err, MS_EIO, "cannot open a socket: %s", strerror(errno));
    else if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0)
        rc = errno == EADDRINUSE
                 ? ms_error_set(err, MS_EUSAGE,
                                "port %d is in use, perhaps by another msaas up: end that, or "
                                "choose another port with --port (MSAAS_PORT)",
                                up->port)
             : errno == EADDRNOTAVAIL
                 ? ms_error_about(err, MS_EUSAGE, host_origin,
                                  "%s is not an address of this machine", up->host)
                 : ms_error_about(err, MS_EUSAGE, port_origin, "port %d of %s: %s", up->port,
                                  up->host, strerror(errno));
    else if (getsockname(fd, (struct sockaddr *)&bound, &size) == 0 &&
             getnameinfo((struct sockaddr *)&bound, size, NULL, 0, service, sizeof service,
                         NI_NUMERICSERV) == 0)
        up->port = (int)strtol(service, NULL, 10);
    if (fd >= 0)
        (void)close(fd);
    freeaddrinfo(found);
    return rc;
}

static int make_data(struct up *up, struct ms_error *err) {
    char *folder = NULL;
    int rc = ms_service_make_place(up->options, MS_OPTION_DATA, &folder, err);
    if (rc == 0) {
        up->data = realpath(folder, NULL);
        if (up->data == NULL)
            rc = ms_error_about(err, MS_EIO, folder, "%s", strerror(errno));
    }
    free(folder);
    return rc;
}

static int prepare(struct up *up, struct ms_error *err) {
    char *model = NULL;
    char *scratch = NULL;
    if (ms_options_argument_count(up->options) > 0)
        return ms_error_set(err, MS_EUSAGE, "up takes no arguments, but was given \"%s\"",
                            ms_options_argument(up->options, 0));
    up->host = ms_service_host(up->options);
    up->port = (int)ms_options_int(up->options, MS_OPTION_PORT);
    up->count = 1 + (int)ms_options_int(up->options, MS_OPTION_WORKERS);
    int rc = ms_service_check(up->options, true, err);
    if (rc == 0)
        rc = ms_cmd_locate_model(up->options, &model, err);
    free(model);
    if (rc == 0)
        rc = make_data(up, err);
    if (rc == 0)
        rc = ms_service_make_place(up->options, MS_OPTION_SCRATCH, &scratch, err);
    free(scratch);
    if (rc == 0)
        rc = check_port(up, err);
    if (rc != 0)
        return rc;
    bool any = strcmp(up->host, "0.0.0.0") == 0 || strcmp(up->host, "::") == 0;
    bool v6 = !any && strchr(up->host, ':') != NULL;
    (void)snprintf(up->url, sizeof up->url, "http://%s%s%s:%d", v6 ? "[" : "",
                   any ? "localhost" : up->host, v6 ? "]" : "", up->port);
    up->children = calloc((size_t)up->count, sizeof *up->children);
    if (up->children == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the children");
    for (int i = 0; rc == 0 && i < up->count; i++)
        rc = plan(up, &up->children[i], i == 0 ? &ms_cmd_serve : &ms_cmd_work, i, err);
    return rc == 0 ? ms_http_client_new(&up->http, err) : rc;
}

/* ---- children ---- */

static const char *name_of(const struct child *child, char name[32]) {
    if (child->number == 0)
        (void)snprintf(name, 32, "%s", child->command->name);
    else
        (void)snprintf(name, 32, "%s %d", child->command->name, child->number);
    return name;
}

/* In the child: async-signal-safe calls only. A group of its own, so that Ctrl-C reaches `up`
 * alone. */
static void become(struct child *child, pid_t parent) {
    int null = open("/dev/null", O_RDONLY);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent || setpgid(0, 0) != 0)
        _exit(MS_EXIT_FAILED);
    if (null > STDIN_FILENO && dup2(null, STDIN_FILENO) >= 0)
        (void)close(null);
    (void)execv("/proc/self/exe", child->arguments);
    _exit(MS_EXIT_FAILED);
}

static int start(struct child *child, struct ms_error *err) {
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return ms_error_set(err, MS_EIO, "cannot start a process for %s: %s", child->command->name,
                            strerror(errno));
    if (pid == 0)
        become(child, parent);
    child->pid = pid;
    child->started_s = ms_monotonic_s();
    child->starts++;
    return 0;
}

/* A child ended without being asked to. An error means that a restart would not help. */
static int ended(struct child *child, int status, struct ms_error *err) {
    double now = ms_monotonic_s();
    double ran_s = now - child->started_s;
    child->pid = 0;
    char name[32];
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != MS_WORKER_STALLED &&
        child->starts == 1 && ran_s < GIVEN_UP_S)
        return ms_error_set(err, WEXITSTATUS(status) == MS_EXIT_USAGE ? MS_EUSAGE : MS_EINTERNAL,
                            "%s cannot run; its message is above", name_of(child, name));
    if (ran_s > STEADY_S)
        child->backoff_s = BACKOFF_S;
    ms_log(MS_LOG_ERROR, "%s ended (%s %d) and is restarted in %.1f s", name_of(child, name),
           WIFSIGNALED(status) ? "signal" : "exit code",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), child->backoff_s);
    child->again_s = now + child->backoff_s;
    child->backoff_s = child->backoff_s * 2 < BACKOFF_MAX_S ? child->backoff_s * 2 : BACKOFF_MAX_S;
    return 0;
}

static int look_after(struct up *up, struct ms_error *err) {
    int rc = 0;
    for (int i = 0; rc == 0 && i < up->count; i++) {
        struct child *child = &up->children[i];
        int status = 0;
        if (child->pid != 0 && waitpid(child->pid, &status, WNOHANG) == child->pid)
            rc = ended(child, status, err);
        if (rc == 0 && child->pid == 0 && ms_monotonic_s() >= child->again_s)
            rc = start(child, err);
    }
    return rc;
}

/* True when the child has ended. */
static bool await_end(struct child *child, double until_s) {
    while (child->pid != 0) {
        pid_t got = waitpid(child->pid, NULL, WNOHANG);
        if (got == child->pid || (got < 0 && errno != EINTR))
            child->pid = 0;
        else if (ms_monotonic_s() > until_s)
            return false;
        else
            (void)usleep(20000);
    }
    return true;
}

/* First serve, so that no new jobs arrive; then all workers at once. */
static void stop_children(struct up *up) {
    double patience_s = ms_options_double(up->options, MS_OPTION_GRACE) + LAST_WAIT_S;
    for (int phase = 0; phase < 2; phase++) {
        int first = phase == 0 ? 0 : 1;
        int last = phase == 0 ? 1 : up->count;
        for (int i = first; i < last; i++)
            if (up->children[i].pid != 0)
                (void)kill(up->children[i].pid, SIGTERM);
        double until_s = ms_monotonic_s() + patience_s;
        for (int i = first; i < last; i++) {
            struct child *child = &up->children[i];
            if (await_end(child, until_s))
                continue;
            char name[32];
            ms_log(MS_LOG_WARN, "%s did not end in time and was killed", name_of(child, name));
            (void)kill(child->pid, SIGKILL);
            (void)await_end(child, ms_monotonic_s() + 3600);
        }
    }
}

/* ---- the whole ---- */

static bool answers(struct up *up) {
    char url[320];
    (void)snprintf(url, sizeof url, "%s/readyz", up->url);
    const struct ms_http_request request = {
        .method = "GET",
        .url = url,
        .connect_timeout_s = 2,
        .total_timeout_s = 5,
        .cancel = ms_cmd_interrupted(),
    };
    struct ms_http_response response;
    return ms_http_send(up->http, &request, &response, NULL) == 0 && response.status == 200;
}

/* The workers inherit their end of the pipe; an environment variable has its number. */
static int make_pipe(struct up *up, struct ms_error *err) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return ms_error_set(err, MS_EIO, "cannot open a pipe: %s", strerror(errno));
    up->ready_fd = ends[0];
    char number[16];
    (void)snprintf(number, sizeof number, "%d", ends[1]);
    if (fcntl(ends[1], F_SETFD, 0) != 0 || setenv(MS_SERVICE_READY, number, 1) != 0)
        return ms_error_set(err, MS_EIO, "cannot open a pipe: %s", strerror(errno));
    return 0;
}

/* Whether a worker has loaded its model and can begin. */
static bool works(struct up *up) {
    struct pollfd pipe_end = {.fd = up->ready_fd, .events = POLLIN};
    if (!up->worker_ready && poll(&pipe_end, 1, 0) == 1)
        up->worker_ready = true;
    return up->worker_ready;
}

static void announce(const struct up *up) {
    bool usual = up->port == 5000;
    (void)printf("\nmsaas is ready at %s: open it in a browser, or send a song from here:\n"
                 "\n"
                 "  curl --data-binary @song.mp3 -H 'Content-Type: audio/mpeg' %s/apiv2/jobs\n"
                 "  msaas submit --wait%s%s song.mp3\n"
                 "\n"
                 "Songs and stems are in %s. Ctrl-C ends it.\n\n",
                 up->url, up->url, usual ? "" : " --server ", usual ? "" : up->url, up->data);
    (void)fflush(stdout);
}

static int run(struct up *up, struct ms_error *err) {
    int rc = prepare(up, err);
    if (rc == 0)
        rc = make_pipe(up, err);
    if (rc != 0)
        return rc;
    double began_s = ms_monotonic_s();
    while (rc == 0 && !ms_cmd_wait_interrupted(up->ready ? LOOK_MS : FIRST_LOOK_MS)) {
        rc = look_after(up, err);
        if (rc != 0 || up->ready)
            continue;
        bool late = ms_monotonic_s() > began_s + PATIENCE_S;
        if ((works(up) || late) && answers(up)) {
            up->ready = true;
            if (!up->worker_ready)
                ms_log(MS_LOG_WARN, "no worker is ready yet; jobs wait in the queue");
            announce(up);
        }
    }
    if (rc == 0)
        ms_log(MS_LOG_INFO, "stopping");
    stop_children(up);
    return rc;
}

static int run_up(const struct ms_call *call) {
    struct up up = {.ready_fd = -1};
    struct ms_error err = {0};
    int exit_code = MS_EXIT_OK;
    if (!ms_cmd_begin(call, &up.options, &exit_code))
        return exit_code;
    (void)ms_cmd_interrupted();
    ms_service_begin_log(up.options, "up");
    int rc = run(&up, &err);
    for (int i = 0; up.children != NULL && i < up.count; i++)
        for (int j = 0; up.children[i].arguments[j] != NULL; j++)
            free(up.children[i].arguments[j]);
    free(up.children);
    free(up.data);
    if (up.ready_fd >= 0)
        (void)close(up.ready_fd);
    ms_http_client_free(up.http);
    struct ms_service service = {.options = up.options};
    return ms_service_end(&service, rc, &err);
}

static const enum ms_option_id option_ids[] = {MS_OPTION_MODEL,
                                               MS_OPTION_MODELS_DIR,
                                               MS_OPTION_DATA,
                                               MS_OPTION_WORKERS,
                                               MS_OPTION_HOST,
                                               MS_OPTION_PORT,
                                               MS_OPTION_ADMIN_PORT,
                                               MS_OPTION_ALLOWED_HOSTS,
                                               MS_OPTION_CORS_ORIGINS,
                                               MS_OPTION_TRUSTED_PROXIES,
                                               MS_OPTION_TOKENS,
                                               MS_OPTION_APIV1,
                                               MS_OPTION_MAX_CONNECTIONS,
                                               MS_OPTION_MAX_CLIENT_CONNECTIONS,
                                               MS_OPTION_MIN_RATE,
                                               MS_OPTION_MAX_SONG_MB,
                                               MS_OPTION_MAX_SONG_MINUTES,
                                               MS_OPTION_PREVIEW,
                                               MS_OPTION_UPLOAD_KEEP,
                                               MS_OPTION_MAX_WAITING,
                                               MS_OPTION_MAX_RENDERS,
                                               MS_OPTION_MAX_COST,
                                               MS_OPTION_GIVE_UP,
                                               MS_OPTION_KEEP,
                                               MS_OPTION_MIN_FREE_MB,
                                               MS_OPTION_LEASE,
                                               MS_OPTION_STALL,
                                               MS_OPTION_GRACE,
                                               MS_OPTION_SCRATCH,
                                               MS_OPTION_WEBHOOK_SECRET,
                                               MS_OPTION_CALLBACK_ALLOW,
                                               MS_OPTION_LOG_FORMAT,
                                               MS_OPTION_LOG_LEVEL,
                                               MS_OPTION_LANES,
                                               MS_OPTION_BATCH,
                                               MS_OPTION_DEVICE,
                                               MS_OPTION_WORK_PRECISION,
                                               MS_OPTION_COUNT};

const struct ms_command ms_cmd_up = {
    .name = "up",
    .summary = "run the whole service on this machine",
    .usage = usage,
    .options = option_ids,
    .run = run_up,
};
