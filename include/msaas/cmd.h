/* The subcommands, and what they share. Each runs on the main thread, prints its help, reports its
 * errors, and returns the exit code of the program. */
#ifndef MSAAS_CMD_H
#define MSAAS_CMD_H

#include <stdatomic.h>

#include "msaas/network.h"
#include "msaas/option.h"

enum ms_exit {
    MS_EXIT_OK = 0,
    MS_EXIT_FAILED = 1, /* at least one request could not be fulfilled */
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
extern const struct ms_command ms_cmd_mix;
extern const struct ms_command ms_cmd_queue;
extern const struct ms_command ms_cmd_rm;
extern const struct ms_command ms_cmd_health;
extern const struct ms_command ms_cmd_config;
extern const struct ms_command ms_cmd_token;

/* Parses the options of the call. True: there is work to do; the caller frees *out. False: --help
 * was printed, or an error was reported; the command returns *exit_code. */
MS_MUST_CHECK bool ms_cmd_begin(const struct ms_call *call, struct ms_options **out,
                                int *exit_code);

/* Prints "msaas: TEXT" on standard error, and after usage errors a hint to --help. Returns the exit
 * code. */
int ms_cmd_failed(const char *command_name, const struct ms_error *err);

/* Whether standard output is a pipe that nobody reads any more. That is not an error and needs no
 * message. */
bool ms_cmd_reader_is_gone(void);

/* Prints text from outside, such as file names. Characters that are not plain (msaas/text.h) become
 * '?', because they could steer the terminal. */
void ms_cmd_print_plain(const char *text, FILE *to);

/* *path: the JSON file of the model that --model and --models-dir name. The caller frees it. */
MS_MUST_CHECK int ms_cmd_locate_model(const struct ms_options *options, char **path,
                                      struct ms_error *err);
MS_MUST_CHECK int ms_cmd_check_device(const struct ms_options *options, struct ms_error *err);

/* The network that --model, --models-dir, --device and --precision of separate and bench ask
 * for. */
MS_MUST_CHECK int ms_cmd_open_network(const struct ms_options *options, struct ms_network **out,
                                      struct ms_error *err);

/* If an error in opening a model is about the device, names the option that the device came from.
 * Returns err->code. */
int ms_cmd_name_device(const struct ms_options *options, struct ms_error *err);

/* The value of an option whose values are precisions. */
enum ms_precision ms_cmd_precision(const struct ms_options *options, enum ms_option_id id);

/* The value of --lanes, or as many as the machine allows for this --batch. */
int ms_cmd_lanes(const struct ms_options *options);
int ms_cmd_batch(const struct ms_options *options); /* --batch */

/* A flag that SIGINT, SIGTERM and SIGHUP set. A second SIGINT or SIGTERM ends the program at once.
 * The first call installs the handlers. */
const atomic_bool *ms_cmd_interrupted(void);
/* Waits until that flag is set, for at most timeout_ms (< 0: without limit). Returns the flag. Any
 * thread. */
bool ms_cmd_wait_interrupted(int timeout_ms);
/* Waits until the descriptor is ready for these events of poll() or failed. False: interrupted. */
bool ms_cmd_wait_ready(int fd, short events);

#endif
