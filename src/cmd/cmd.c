/* What the subcommands share: their beginning, their errors, their interruption. Owns the signal flag; main thread. */
#include "msaas/cmd.h"

#include <signal.h>
#include <stddef.h>

static atomic_bool interrupted;

bool ms_cmd_begin(enum ms_command command, const char *usage, int argc, char **argv,
                  struct ms_options **out, int *exit_code) {
    struct ms_error err = {0};
    if (ms_options_parse(command, argc, argv, out, &err) != 0) {
        *exit_code = ms_cmd_failed(argv[0], &err);
        return false;
    }
    if (!ms_options_flag(*out, MS_OPTION_HELP))
        return true;
    (void)fputs(usage, stdout);
    (void)fputc('\n', stdout);
    ms_options_print_help(command, stdout);
    ms_options_free(*out);
    *out = NULL;
    *exit_code = MS_EXIT_OK;
    return false;
}

int ms_cmd_failed(const char *command_name, const struct ms_error *err) {
    if (err->code == MS_ECANCELED)
        return MS_EXIT_INTERRUPTED;
    (void)fprintf(stderr, "msaas: %s\n", err->text);
    if (err->code != MS_EUSAGE)
        return MS_EXIT_FAILED;
    (void)fprintf(stderr, "Try: msaas %s --help\n", command_name);
    return MS_EXIT_USAGE;
}

static void note_signal(int number) {
    (void)number;
    atomic_store(&interrupted, true);
}

const atomic_bool *ms_cmd_interrupted(void) {
    static bool installed;
    if (!installed) {
        installed = true;
        /* The handler stands for one signal: the second finds the default, which ends the program. */
        struct sigaction action = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};
        (void)sigemptyset(&action.sa_mask);
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
    }
    return &interrupted;
}
