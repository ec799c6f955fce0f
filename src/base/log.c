/* The process's log. A line is made on the caller's thread and leaves in one write. Owns the settings and the shipper. */
#include "msaas/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "msaas/buf.h"
#include "msaas/json.h"

/* A line holds its text and fields even when each byte is escaped by six. */
enum { MAX_FIELDS = 16, MAX_VALUE = 512, MAX_TEXT = 4096, MAX_LINE = 96 << 10 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
    const char *role;
    enum ms_log_level least;
    bool json;
    char host[64];
} settings = {.role = "msaas", .least = MS_LOG_INFO};

static pthread_mutex_t ship_mutex = PTHREAD_MUTEX_INITIALIZER; /* held while ship runs */
static void (*ship_line)(void *context, const char *line);
static void *ship_context;

struct line {
    enum ms_log_level level;
    const char *text;
    struct {
        const char *key;
        char value[MAX_VALUE]; /* what is longer is cut */
    } fields[MAX_FIELDS];
    int field_count;
};

void ms_log_init(const char *role, enum ms_log_level least, bool json) {
    settings.role = role;
    settings.least = least;
    settings.json = json;
    if (gethostname(settings.host, sizeof settings.host - 1) != 0 || settings.host[0] == '\0')
        (void)snprintf(settings.host, sizeof settings.host, "localhost");
}

void ms_log_set_shipper(void (*ship)(void *context, const char *line), void *context) {
    (void)pthread_mutex_lock(&ship_mutex);
    ship_line = ship;
    ship_context = context;
    (void)pthread_mutex_unlock(&ship_mutex);
}

/* Nothing that a client sends may begin a line of its own or speak to the terminal: C0, DEL and C1 (in UTF-8). */
static void put_escaped(struct ms_buf *out, const char *text, bool quoted) {
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c == '\n')
            ms_buf_puts(out, "\\n");
        else if (*c < ' ' || *c == 0x7f)
            ms_buf_printf(out, "\\x%02x", *c);
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0)
            ms_buf_printf(out, "\\u00%02x", *++c);
        else if (quoted && (*c == '"' || *c == '\\'))
            ms_buf_printf(out, "\\%c", *c);
        else
            ms_buf_append(out, c, 1);
    }
}

static void put_plain(struct ms_buf *out, const struct line *line) {
    put_escaped(out, line->text, false);
    for (int i = 0; i < line->field_count; i++) {
        const char *value = line->fields[i].value;
        const char *quote = value[strcspn(value, " \"=")] != '\0' || *value == '\0' ? "\"" : "";
        ms_buf_printf(out, " %s=%s", line->fields[i].key, quote);
        put_escaped(out, value, *quote != '\0');
        ms_buf_puts(out, quote);
    }
}

static void put_json(struct ms_buf *out, const struct line *line, const char *now) {
    struct ms_json_writer *w = ms_json_writer_new();
    size_t size = 0;
    if (w == NULL)
        return;
    ms_json_begin_object(w, NULL);
    ms_json_put_string(w, "time", now);
    ms_json_put_string(w, "level", level_names[line->level]);
    ms_json_put_string(w, "role", settings.role);
    ms_json_put_string(w, "host", settings.host);
    ms_json_put_string(w, "text", line->text);
    for (int i = 0; i < line->field_count; i++)
        ms_json_put_string(w, line->fields[i].key, line->fields[i].value);
    ms_json_end_object(w);
    const char *text = ms_json_writer_text(w, &size);
    if (text != NULL)
        ms_buf_append(out, text, size);
    ms_json_writer_free(w);
}

static void write_all(const char *bytes, size_t size) {
    while (size > 0) {
        const ssize_t written = write(STDERR_FILENO, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* there is nobody left to tell */
        bytes += written;
        size -= (size_t)written;
    }
}

static void ship(const struct line *line) {
    struct ms_buf out = {.max = MAX_LINE};
    (void)pthread_mutex_lock(&ship_mutex);
    if (ship_line != NULL) {
        ms_buf_printf(&out, "%s.%s.%s:", settings.host, settings.role, level_names[line->level]);
        put_plain(&out, line);
        if (out.bytes != NULL)
            ship_line(ship_context, out.bytes);
    }
    (void)pthread_mutex_unlock(&ship_mutex);
    ms_buf_fini(&out);
}

static void emit(const struct line *line) {
    struct ms_buf out = {.max = MAX_LINE};
    struct timespec at;
    struct tm tm = {0};
    char date[32], now[48];
    (void)clock_gettime(CLOCK_REALTIME, &at);
    (void)gmtime_r(&at.tv_sec, &tm);
    (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(now, sizeof now, "%s.%03dZ", date, (int)(at.tv_nsec / 1000000));
    if (settings.json) {
        put_json(&out, line, now);
    } else {
        ms_buf_printf(&out, "%s %s %s: ", now, level_names[line->level], settings.role);
        put_plain(&out, line);
    }
    out.max++; /* for the line's end, however long it is */
    if (out.failed == MS_ETOOLARGE)
        out.failed = 0;
    ms_buf_append(&out, "\n", 1);
    write_all(out.bytes, out.size);
    ms_buf_fini(&out);
    ship(line);
}

void ms_log(enum ms_log_level level, const char *fmt, ...) {
    char text[MAX_TEXT];
    va_list args;
    if (level < settings.least)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    struct line line;
    line.level = level;
    line.text = text;
    line.field_count = 0;
    emit(&line);
}

void ms_log_fields(enum ms_log_level level, const char *text, ...) {
    struct line line;
    va_list args;
    if (level < settings.least)
        return;
    line.level = level;
    line.text = text;
    line.field_count = 0;
    va_start(args, text);
    while (line.field_count < MAX_FIELDS) {
        const char *key = va_arg(args, const char *);
        if (key == NULL)
            break;
        const char *value = va_arg(args, const char *);
        line.fields[line.field_count].key = key;
        (void)snprintf(line.fields[line.field_count++].value, MAX_VALUE, "%s",
                       value != NULL ? value : "");
    }
    va_end(args);
    emit(&line);
}
