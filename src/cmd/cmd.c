/* What the subcommands share: how they begin, report errors and are interrupted. Owns the signal
 * flag. Main thread. */
#include "msaas/cmd.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "metrics_list.h"
#include "msaas/sys.h"
#include "msaas/text.h"

/* Memory of the process with its weights; and in addition of each segment in the batch of each
 * lane. */
#define BASE_BYTES (INT64_C(450) << 20)
#define LANE_BYTES (INT64_C(250) << 20)

static atomic_bool interrupted;
static int interruption = -1; /* an eventfd that becomes readable, to wake those who wait */
static volatile sig_atomic_t on_terminal;

bool ms_cmd_begin(const struct ms_call *call, struct ms_options **out, int *exit_code) {
    ms_metrics_use(ms_cmd_metrics);
    struct ms_error err = {0};
    if (ms_options_parse(call, out, &err) != 0) {
        *exit_code = ms_cmd_failed(call->argv[0], &err);
        return false;
    }
    if (!ms_options_flag(*out, MS_OPTION_HELP))
        return true;
    (void)fputs(call->command->usage, stdout);
    (void)fputc('\n', stdout);
    ms_options_print_help(call->command, stdout);
    ms_options_free(*out);
    *out = NULL;
    *exit_code = MS_EXIT_OK;
    return false;
}

int ms_cmd_failed(const char *command_name, const struct ms_error *err) {
    if (err->code == MS_ECANCELED)
        return MS_EXIT_INTERRUPTED;
    bool usage = err->code == MS_EUSAGE;
    (void)fputs("msaas: ", stderr);
    ms_cmd_print_plain(err->text, stderr);
    if (usage)
        (void)fprintf(stderr, " (see msaas %s --help)", command_name);
    (void)fputc('\n', stderr);
    return usage ? MS_EXIT_USAGE : MS_EXIT_FAILED;
}

bool ms_cmd_reader_is_gone(void) {
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) == 1 && (output.revents & POLLERR) != 0;
}

void ms_cmd_print_plain(const char *text, FILE *to) {
    const char *end = text + strlen(text);
    while (text < end) {
        uint32_t code = 0;
        const size_t length = ms_utf8_read(text, (size_t)(end - text), &code);
        if (length > 0 && ms_char_is_plain(code))
            (void)fwrite(text, 1, length, to);
        else
            (void)fputc('?', to);
        text += length > 0 ? length : 1;
    }
}

static bool is_device(const char *name) {
    if (strncmp(name, "cuda:", 5) == 0)
        return name[5] != '\0' && strlen(name) <= 7 &&
               name[5 + strspn(name + 5, "0123456789")] == '\0';
    return strcmp(name, "cpu") == 0 || strcmp(name, "cuda") == 0;
}

static int is_model(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".json") == 0;
}

/* Adds the names of the installed models to an error about an unknown one. */
static void name_installed(const char *folder, struct ms_error *err) {
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_model, alphasort);
    for (int i = 0; i < count; i++) {
        int length = (int)strlen(entries[i]->d_name) - 5;
        ms_error_append(err, "%s%.*s", i == 0 ? "; installed: " : ", ", length, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

int ms_cmd_locate_model(const struct ms_options *options, char **path, struct ms_error *err) {
    char *folder = NULL;
    int rc = ms_models_dir(ms_options_string(options, MS_OPTION_MODELS_DIR), &folder, err);
    if (rc == 0) {
        rc = ms_model_locate(folder, ms_options_string(options, MS_OPTION_MODEL), path, err);
        if (rc == MS_ENOTFOUND)
            name_installed(folder, err);
    }
    free(folder);
    return rc;
}

int ms_cmd_check_device(const struct ms_options *options, struct ms_error *err) {
    const char *device = ms_options_string(options, MS_OPTION_DEVICE);
    if (is_device(device))
        return 0;
    char origin[MS_OPTION_ORIGIN_BYTES];
    return ms_error_about(err, MS_EUSAGE, ms_options_origin(options, MS_OPTION_DEVICE, origin),
                          "must be cpu, cuda or cuda:N, not \"%s\"", device);
}

int ms_cmd_name_device(const struct ms_options *options, struct ms_error *err) {
    if (!ms_error_is_about(err, ms_options_string(options, MS_OPTION_DEVICE)))
        return err->code; /* the model is at fault */
    char origin[MS_OPTION_ORIGIN_BYTES];
    return ms_error_prefix(err, "%s", ms_options_origin(options, MS_OPTION_DEVICE, origin));
}

enum ms_precision ms_cmd_precision(const struct ms_options *options, enum ms_option_id id) {
    enum ms_precision precision = MS_PRECISION_AUTO;
    (void)!ms_precision_parse(ms_options_string(options, id), &precision, NULL);
    return precision;
}

int ms_cmd_open_network(const struct ms_options *options, struct ms_network **out,
                        struct ms_error *err) {
    char *path = NULL;
    int rc = ms_cmd_check_device(options, err);
    if (rc == 0)
        rc = ms_cmd_locate_model(options, &path, err);
    if (rc == 0) {
        rc = ms_network_open(path, ms_options_string(options, MS_OPTION_DEVICE),
                             ms_cmd_precision(options, MS_OPTION_PRECISION), out, err);
        if (rc != 0)
            rc = ms_cmd_name_device(options, err);
    }
    free(path);
    return rc;
}

int ms_cmd_lanes(const struct ms_options *options) {
    int64_t asked = ms_options_int(options, MS_OPTION_LANES);
    if (asked > 0)
        return (int)asked;
    struct ms_limits limits;
    ms_limits_read("", &limits);
    return ms_limits_lanes(&limits, BASE_BYTES, LANE_BYTES * ms_cmd_batch(options));
}

int ms_cmd_batch(const struct ms_options *options) {
    return (int)ms_options_int(options, MS_OPTION_BATCH);
}

/* Says on a terminal that the signal was received, because it takes seconds until the work ends. */
static void note_signal(int number) {
    static const char note[] = "\r\033[Kmsaas: stopping; Ctrl-C again stops at once\n";
    int before = errno;
    const uint64_t one = 1;
    atomic_store(&interrupted, true);
    ssize_t written = interruption >= 0 ? write(interruption, &one, sizeof one) : 0;
    if (on_terminal && number == SIGINT)
        written = write(STDERR_FILENO, note, sizeof note - 1);
    (void)written;
    errno = before;
}

const atomic_bool *ms_cmd_interrupted(void) {
    static bool installed;
    if (!installed) {
        installed = true;
        on_terminal = isatty(STDERR_FILENO);
        interruption = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        /* SA_RESETHAND: a second signal finds the default action, which ends the program.
         * SA_RESTART: calls that wait go on, because the flag is enough. */
        struct sigaction action = {.sa_handler = note_signal,
                                   .sa_flags = (int)SA_RESETHAND | SA_RESTART};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        /* The terminal was closed: kernel and shell may both say so. `nohup` ignores it. */
        struct sigaction before;
        action.sa_flags = SA_RESTART;
        if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(SIGHUP, &action, NULL);
    }
    return &interrupted;
}

bool ms_cmd_wait_interrupted(int timeout_ms) {
    const atomic_bool *flag = ms_cmd_interrupted();
    struct pollfd wait = {.fd = interruption, .events = POLLIN};
    if (!atomic_load(flag)) /* a signal that arrives here leaves the eventfd readable */
        (void)poll(&wait, 1, timeout_ms);
    return atomic_load(flag);
}

bool ms_cmd_wait_ready(int fd, short events) {
    const atomic_bool *flag = ms_cmd_interrupted();
    struct pollfd waits[] = {{.fd = interruption, .events = POLLIN}, {.fd = fd, .events = events}};
    while (!atomic_load(flag) && poll(waits, 2, -1) < 0 && errno == EINTR)
        continue;
    return !atomic_load(flag);
}
