/* Progress and results, for people and for programs. Results go to standard output, everything else
 * to standard error. Main thread. */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/sys.h"

#define REDRAW_S 0.1
#define BAR_COLUMNS 30

void ms_report_init(struct ms_report *report, bool json, bool quiet, bool verbose) {
    *report = (struct ms_report){.json = json, .quiet = quiet, .verbose = verbose};
    const char *terminal = getenv("TERM");
    report->bar = !json && !quiet && isatty(STDERR_FILENO) &&
                  (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* Of the terminal as it is now. */
static int columns(void) {
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void ms_report_clear(struct ms_report *report) {
    if (report->bar_drawn)
        (void)fputs("\r\033[K", stderr);
    report->bar_drawn = false;
}

/* Prints one line of JSON and flushes it: the reader may be waiting for it. */
static void put_line(struct ms_json_writer *writer) {
    const char *text = ms_json_writer_text(writer, NULL);
    if (text != NULL)
        (void)puts(text);
    (void)fflush(stdout);
    ms_json_writer_free(writer);
}

static struct ms_json_writer *event(const char *name, const char *path) {
    struct ms_json_writer *writer = ms_json_writer_new();
    if (writer == NULL)
        return NULL;
    ms_json_begin_object(writer, NULL);
    ms_json_put_string(writer, "event", name);
    ms_json_put_string(writer, "file", path);
    return writer;
}

void ms_report_begin(struct ms_report *report, const char *path, int rate_hz) {
    report->path = path;
    report->rate_hz = rate_hz;
    report->begun_s = report->drawn_s = 0;
    if (report->bar) {
        ms_cmd_print_plain(path, stderr);
        (void)fputs("\n  reading ...", stderr);
        report->bar_drawn = true;
    }
    struct ms_json_writer *writer = report->json ? event("start", path) : NULL;
    if (writer != NULL) {
        ms_json_end_object(writer);
        put_line(writer);
    }
}

void ms_report_bar(struct ms_report *report, double part, const char *note, double left_s) {
    char cells[BAR_COLUMNS + 1], percent[16], time[40] = "", tail[120], line[200];
    if (!report->bar)
        return;
    const int left = (int)(left_s < 359999 ? left_s + 0.5 : 359999);
    if (left_s >= 0)
        (void)snprintf(time, sizeof time, "%s%d:%02d:%02d left", note[0] != '\0' ? ", " : "",
                       left / 3600, left / 60 % 60, left % 60);
    (void)snprintf(percent, sizeof percent, "  %3d%%", (int)(part * 100));
    (void)snprintf(tail, sizeof tail, "%s%s%s", note[0] != '\0' || time[0] != '\0' ? "  " : "",
                   note, time);
    /* A line that wraps cannot be overwritten: shorten the bar, then cut the end of the text. */
    const int width = columns() - 1;
    int bar = width - (int)strlen(percent) - (int)strlen(tail) - 1;
    bar = bar > BAR_COLUMNS ? BAR_COLUMNS : bar < 0 ? 0 : bar;
    for (int i = 0; i < bar; i++)
        cells[i] = i < part * bar ? '#' : '-';
    cells[bar] = '\0';
    (void)snprintf(line, sizeof line, "%s%s%s%s", percent, bar > 0 ? " " : "", cells, tail);
    (void)fprintf(stderr, "\r\033[K%.*s", width, line);
    (void)fflush(stderr);
    report->bar_drawn = true;
}

void ms_report_progress(void *context, const struct ms_separate_progress *progress) {
    struct ms_report *report = context;
    double now = ms_monotonic_s();
    if (progress->segments_total <= 0 || (!report->bar && !report->json))
        return;
    if (report->begun_s == 0)
        report->begun_s = now;
    bool last = progress->segments_done == progress->segments_total;
    if (progress->segments_done == 0) {
        ms_report_bar(report, 0, "", -1);
        return;
    }
    if (now - report->drawn_s < REDRAW_S && !last)
        return;
    report->drawn_s = now;
    double part = (double)progress->segments_done / (double)progress->segments_total;
    double seconds = now - report->begun_s;
    double song_s = (double)progress->frames_total / report->rate_hz;
    double speed = seconds > 0 ? part * song_s / seconds : 0;
    double left_s = seconds / part - seconds;
    if (report->bar) {
        char note[40];
        (void)snprintf(note, sizeof note, "%.1fx real time", speed);
        ms_report_bar(report, part, note, left_s);
        return;
    }
    struct ms_json_writer *writer = event("progress", report->path);
    if (writer == NULL)
        return;
    ms_json_put_double(writer, "percent", part * 100);
    ms_json_put_int(writer, "segments_done", progress->segments_done);
    ms_json_put_int(writer, "segments_total", progress->segments_total);
    ms_json_put_double(writer, "speed", speed);
    ms_json_put_double(writer, "seconds_left", left_s);
    ms_json_end_object(writer);
    put_line(writer);
}

static void done_json(const struct ms_report *report, const struct ms_pipeline_output *outputs,
                      int count, const struct ms_pipeline_stats *stats, double audio_s,
                      enum ms_precision precision) {
    struct ms_json_writer *writer = event("done", report->path);
    if (writer == NULL)
        return;
    ms_json_begin_array(writer, "stems");
    for (int i = 0; i < count; i++) {
        ms_json_begin_object(writer, NULL);
        ms_json_put_string(writer, "name", outputs[i].label);
        ms_json_put_string(writer, "path", outputs[i].path);
        ms_json_end_object(writer);
    }
    ms_json_end_array(writer);
    ms_json_put_double(writer, "seconds", stats->total_s);
    ms_json_put_double(writer, "audio_seconds", audio_s);
    ms_json_put_double(writer, "speed", audio_s / stats->total_s);
    ms_json_put_string(writer, "precision", ms_precision_name(precision));
    ms_json_put_bool(writer, "damaged", stats->damaged);
    ms_json_end_object(writer);
    put_line(writer);
}

static void done_text(const struct ms_report *report, const struct ms_pipeline_output *outputs,
                      int count, const struct ms_pipeline_stats *stats, double audio_s) {
    if (!report->bar) { /* the bar is below the name of the song already */
        ms_cmd_print_plain(report->path, stdout);
        (void)fputs(":\n", stdout);
    }
    for (int i = 0; i < count; i++) {
        if (i > 0 && strcmp(outputs[i].path, outputs[i - 1].path) == 0)
            continue; /* all in one zip */
        (void)fputs("  ", stdout);
        ms_cmd_print_plain(outputs[i].path, stdout);
        (void)fputc('\n', stdout);
    }
    (void)printf("  %.1f s of music in %.1f s, %.2fx real time\n", audio_s, stats->total_s,
                 audio_s / stats->total_s);
    (void)fflush(stdout);
}

void ms_report_done(struct ms_report *report, const struct ms_pipeline_output *outputs, int count,
                    const struct ms_pipeline_stats *stats, enum ms_precision precision) {
    double audio_s = (double)stats->frames / report->rate_hz;
    ms_report_clear(report);
    if (report->json)
        done_json(report, outputs, count, stats, audio_s, precision);
    else if (!report->quiet)
        done_text(report, outputs, count, stats, audio_s);
    ms_report_detail(report, "  decode %.2f s, separate %.2f s, encode %.2f s; peak memory %.0f MB",
                     stats->decode_s, stats->separate_s, stats->encode_s,
                     (double)ms_peak_rss_bytes() / 1e6);
    if (!stats->damaged)
        return;
    report->failures++;
    (void)fputs("msaas: ", stderr);
    ms_cmd_print_plain(report->path, stderr);
    (void)fputs(": damaged; the stems hold what could be decoded\n", stderr);
}

void ms_report_error_event(const struct ms_report *report, const char *path,
                           const struct ms_error *err) {
    struct ms_json_writer *writer = report->json ? event("error", path) : NULL;
    if (writer == NULL)
        return;
    ms_json_put_string(writer, "code", ms_code_name(err->code));
    ms_json_put_string(writer, "message", err->text);
    ms_json_end_object(writer);
    put_line(writer);
}

void ms_report_failed(void *context, const char *path, const struct ms_error *err) {
    struct ms_report *report = context;
    ms_report_clear(report);
    ms_report_error_event(report, path, err);
    if (err->code == MS_ECANCELED)
        return;
    report->failures++;
    (void)fputs("msaas: ", stderr);
    ms_cmd_print_plain(err->text, stderr);
    (void)fputc('\n', stderr);
}

void ms_report_detail(struct ms_report *report, const char *fmt, ...) {
    if (!report->verbose)
        return;
    va_list args;
    va_start(args, fmt);
    char text[1000];
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ms_report_clear(report);
    ms_cmd_print_plain(text, stderr);
    (void)fputc('\n', stderr);
}
