/* The log of the process. Owns a lock, so that lines do not mix, and the shipper, which gets every
 * line as well. Any thread. */
#include "msaas/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msaas/json.h"
#include "msaas/text.h"

#define TEXT_MAX 2048
#define FIELDS_MAX 16 /* names and values */
#define VALUE_MAX 640
/* Of a plain line: all of it quoted, each character escaped. */
#define PLAIN_MAX (2 * TEXT_MAX + FIELDS_MAX / 2 * (2 * VALUE_MAX + 64))

static struct {
    pthread_mutex_t lock;
    char role[16];
    char host[64];
    enum ms_log_level least;
    bool json;
    void (*ship)(void *context, const char *line);
    void *ship_context;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .role = "msaas", .least = MS_LOG_INFO};

static const char *const names[] = {"debug", "info", "warning", "error"};

void ms_log_init(const char *role, enum ms_log_level least, bool json) {
    (void)pthread_mutex_lock(&state.lock);
    (void)snprintf(state.role, sizeof state.role, "%s", role);
    state.least = least;
    state.json = json;
    if (gethostname(state.host, sizeof state.host - 1) != 0 || state.host[0] == '\0')
        (void)snprintf(state.host, sizeof state.host, "localhost");
    (void)pthread_mutex_unlock(&state.lock);
}

void ms_log_set_shipper(void (*ship)(void *context, const char *line), void *context) {
    (void)pthread_mutex_lock(&state.lock);
    state.ship = ship;
    state.ship_context = context;
    (void)pthread_mutex_unlock(&state.lock);
}

static void print_json(enum ms_log_level level, const char *stamp, const char *text,
                       const char *const fields[], size_t count) {
    struct ms_json_writer *writer = ms_json_writer_new();
    if (writer == NULL)
        return;
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "time", stamp);
    ms_json_put_string(writer, "level", names[level]);
    ms_json_put_string(writer, "role", state.role);
    ms_json_put_string(writer, "host", state.host);
    ms_json_put_string(writer, "message", text);
    for (size_t i = 0; i + 1 < count; i += 2)
        ms_json_put_string(writer, fields[i], fields[i + 1]);
    ms_json_end_object(writer);
    const char *line = ms_json_writer_text(writer, NULL);
    if (line != NULL)
        (void)fprintf(stderr, "%s\n", line);
    ms_json_writer_free(writer);
}

/* Appends the text, in quotes where it holds one of `special`, begins with a quote or is empty. */
static void put(char line[PLAIN_MAX], size_t *used, const char *text, const char *special) {
    const bool quoted = text[0] == '\0' || text[0] == '"' || strpbrk(text, special) != NULL;
    if (quoted)
        line[(*used)++] = '"';
    for (const char *at = text; *at != '\0'; at++) {
        if (quoted && (*at == '"' || *at == '\\'))
            line[(*used)++] = '\\';
        line[(*used)++] = *at;
    }
    if (quoted)
        line[(*used)++] = '"';
    line[*used] = '\0';
}

/* The text, then the fields as logfmt has them. Strangers choose parts of both: what could pass for
 * a field is quoted. */
static void make_plain(char line[PLAIN_MAX], const char *text, const char *const fields[],
                       size_t count) {
    size_t used = 0;
    put(line, &used, text, "=");
    for (size_t i = 0; i + 1 < count; i += 2) {
        char value[VALUE_MAX];
        (void)snprintf(value, sizeof value, "%s", fields[i + 1]);
        ms_text_flatten(value);
        used += (size_t)snprintf(line + used, PLAIN_MAX - used, " %.32s=", fields[i]);
        put(line, &used, value, " \"=");
    }
}

void ms_log_stamp(char stamp[MS_LOG_STAMP_BYTES]) {
    struct timespec now = {0};
    struct tm utc;
    stamp[0] = '\0';
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc) == NULL)
        return;
    const size_t size = strftime(stamp, MS_LOG_STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(stamp + size, MS_LOG_STAMP_BYTES - size, ".%03ldZ", now.tv_nsec / 1000000);
}

static void write_line(enum ms_log_level level, char *text, const char *const fields[],
                       size_t count) {
    char stamp[MS_LOG_STAMP_BYTES], plain[PLAIN_MAX];
    ms_text_flatten(text);
    make_plain(plain, text, fields, count);
    ms_log_stamp(stamp);
    (void)pthread_mutex_lock(&state.lock);
    if (level >= state.least) {
        if (state.json)
            print_json(level, stamp, text, fields, count);
        else
            (void)fprintf(stderr, "%s %-7s %s\n", stamp, names[level], plain);
        if (state.ship != NULL) { /* the form of the course's log */
            char line[PLAIN_MAX + 128];
            (void)snprintf(line, sizeof line, "%s.%s.%s:%s", state.host, state.role, names[level],
                           plain);
            state.ship(state.ship_context, line);
        }
    }
    (void)pthread_mutex_unlock(&state.lock);
}

void ms_log(enum ms_log_level level, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    char text[TEXT_MAX];
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    write_line(level, text, NULL, 0);
}

void ms_log_fields(enum ms_log_level level, const char *text, ...) {
    size_t count = 0;
    va_list args;
    va_start(args, text);
    const char *fields[FIELDS_MAX];
    while (count < FIELDS_MAX && (fields[count] = va_arg(args, const char *)) != NULL)
        count++;
    va_end(args);
    char copy[TEXT_MAX];
    (void)snprintf(copy, sizeof copy, "%s", text);
    write_line(level, copy, fields, count);
}
