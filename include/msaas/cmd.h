/* The subcommands, and what they share. Each runs on the main thread, prints its own help for
 * --help, reports its own errors, and returns the program's exit code. */
#ifndef MSAAS_CMD_H
#define MSAAS_CMD_H

#include <stdatomic.h>

#include "msaas/network.h"
#include "msaas/option.h"

enum ms_exit {
    MS_EXIT_OK = 0,
    MS_EXIT_FAILED = 1, /* at least one thing asked for could not be done */
    MS_EXIT_USAGE = 2,
    MS_EXIT_INTERRUPTED = 130,
};

extern const struct ms_command ms_cmd_separate;
extern const struct ms_command ms_cmd_bench;
extern const struct ms_command ms_cmd_model;
extern const struct ms_command ms_cmd_up;
extern const struct ms_command ms_cmd_serve;
extern const struct ms_command ms_cmd_work;
extern const struct ms_command ms_cmd_logs;
extern const struct ms_command ms_cmd_submit;
extern const struct ms_command ms_cmd_status;
extern const struct ms_command ms_cmd_fetch;
extern const struct ms_command ms_cmd_queue;
extern const struct ms_command ms_cmd_rm;
extern const struct ms_command ms_cmd_health;
extern const struct ms_command ms_cmd_config;

/* Parses the call's options. Returns true when there is work to do, with *out the caller's to free.
 * False when --help was asked for (printed: the usage, then the options) or the options are wrong
 * (reported): *exit_code is the program's. */
MS_MUST_CHECK bool ms_cmd_begin(const struct ms_call *call, struct ms_options **out,
                                int *exit_code);

/* Prints "msaas: TEXT" on standard error, for usage errors with a hint at --help on the same line,
 * and returns the exit code. */
int ms_cmd_failed(const char *command_name, const struct ms_error *err);

/* Whether standard output is a pipe that nobody reads any more: no fault, and nothing to talk
 * about. */
bool ms_cmd_reader_is_gone(void);

/* Text from outside (file names) for a terminal: what is not plain (msaas/text.h), which could
 * steer it, becomes '?'. */
void ms_cmd_print_plain(const char *text, FILE *to);

/* The JSON file of the model that --model and --models-dir ask for; the caller's to free. */
MS_MUST_CHECK int ms_cmd_locate_model(const struct ms_options *options, char **path,
                                      struct ms_error *err);
MS_MUST_CHECK int ms_cmd_check_device(const struct ms_options *options, struct ms_error *err);

/* The model that --model, --models-dir, --device and --precision ask for: of `separate`, `bench`.
 */
MS_MUST_CHECK int ms_cmd_open_network(const struct ms_options *options, struct ms_network **out,
                                      struct ms_error *err);

/* Of an error in opening a model: where the device is at fault, names the option that it came from.
 * Returns err->code. */
int ms_cmd_name_device(const struct ms_options *options, struct ms_error *err);

/* What an option says that has precisions to choose from; it has a default. */
enum ms_precision ms_cmd_precision(const struct ms_options *options, enum ms_option_id id);

/* --lanes, or what the machine allows with segments of --batch at a time. */
int ms_cmd_lanes(const struct ms_options *options);
int ms_cmd_batch(const struct ms_options *options); /* --batch */

/* True from the first SIGINT or SIGTERM on; a second one ends the program at once. The first call
 * installs the handlers. */
const atomic_bool *ms_cmd_interrupted(void);
/* Waits until then, at most timeout_ms (< 0: without end); whether it is true. Any thread. */
bool ms_cmd_wait_interrupted(int timeout_ms);

#endif
