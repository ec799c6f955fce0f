/* What `msaas separate` tells while it works: a progress bar on a terminal, a line a song
 * elsewhere, or JSON. */
#ifndef MSAAS_CMD_REPORT_H
#define MSAAS_CMD_REPORT_H

#include <stdbool.h>

#include "msaas/pipeline.h"

struct ms_report {
    bool json, quiet, verbose; /* set by the caller; the rest is the report's own */
    bool bar;                  /* a progress bar is shown: standard error is a terminal */
    bool bar_drawn;
    int failures; /* songs that failed or are incomplete */
    const char *path;
    int rate_hz;
    double begun_s; /* of the separation, after the pass that only measures the song */
    double drawn_s;
};

void ms_report_init(struct ms_report *report, bool json, bool quiet, bool verbose);
void ms_report_begin(struct ms_report *report, const char *path, int rate_hz);
/* A hook of the separator; context: a struct ms_report. */
void ms_report_progress(void *context, const struct ms_separate_progress *progress);
void ms_report_done(struct ms_report *report, const struct ms_pipeline_output *outputs, int count,
                    const struct ms_pipeline_stats *stats, enum ms_precision precision);
/* Reports a song that failed; the text of err names it. context: a struct ms_report. A cancelled
 * song does not count as failed. */
void ms_report_failed(void *context, const char *path, const struct ms_error *err);
/* With --json: prints an error of the song `path`, or of the whole run if path is NULL. */
void ms_report_error_event(const struct ms_report *report, const char *path,
                           const struct ms_error *err);
/* A line for --verbose. */
void ms_report_detail(struct ms_report *report, const char *fmt, ...) MS_PRINTF(2, 3);

/* Draws the bar, if one is shown. part: in [0, 1]; note: without control characters; left_s: < 0 if
 * not known. */
void ms_report_bar(struct ms_report *report, double part, const char *note, double left_s);
void ms_report_clear(struct ms_report *report);

#endif
