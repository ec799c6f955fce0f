/* The table of subcommands, nothing else. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/process.h"

static int help(int argc, char **argv);

static const struct {
    const char *name;
    int (*run)(int argc, char **argv); /* argv[0] is the name */
    const char *summary;
    bool runs_networks;
} commands[] = {
    {"separate", ms_cmd_separate, "separate songs into stems: vocals, drums, bass, other", true},
    {"bench", ms_cmd_bench, "measure how fast this machine separates", true},
    {"model", ms_cmd_model, "fetch, import, list and check models", false},
    {"up", ms_cmd_up, "run the whole service on this machine", false},
    {"serve", ms_cmd_serve, "the service's REST API, on a queue and a store", false},
    {"work", ms_cmd_work, "work on the service's jobs", true},
    {"logs", ms_cmd_logs, "print the service's log as it comes", false},
    {"submit", ms_cmd_submit, "send songs to a server", false},
    {"status", ms_cmd_status, "tell how far a job has come", false},
    {"fetch", ms_cmd_fetch, "bring the stems of a job", false},
    {"queue", ms_cmd_queue, "list the jobs that wait", false},
    {"rm", ms_cmd_rm, "cancel or erase jobs", false},
    {"health", ms_cmd_health, "ask whether the msaas on this machine is alive", false},
    {"config", ms_cmd_config, "show what a command would run with, and why", false},
    {"help", help, "show this, or the help of a command: msaas help separate", false},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void print_overview(void) {
    (void)puts(
        "msaas separates music into its stems with Meta's Demucs v4.\n"
        "\n"
        "Usage: msaas COMMAND [OPTIONS] [ARGUMENTS]\n"
        "\n"
        "Examples:\n"
        "  msaas separate song.mp3                      four stems, as WAV, in "
        "separated/htdemucs/song\n"
        "  msaas separate --two-stems vocals --mp3 *.flac\n"
        "  msaas up                                     a service at http://localhost:5000\n"
        "  msaas submit --wait song.mp3                 a song for it, from another terminal\n"
        "\n"
        "Commands:");
    for (size_t i = 0; i < COMMANDS; i++)
        (void)printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    (void)puts("\nmsaas COMMAND --help tells more about each; msaas --version tells the version.");
}

/* What a command printed must have arrived, else it failed. */
static int check_output(int exit_code) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    if (!ms_cmd_reader_is_gone()) /* who reads no further, as `head` does, knows */
        (void)fprintf(stderr, "msaas: standard output: %s\n", strerror(errno));
    return exit_code == MS_EXIT_OK ? MS_EXIT_FAILED : exit_code;
}

/* argv[0] is the command's name. */
static int run(int argc, char **argv) {
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (commands[i].runs_networks)
            ms_process_prepare();
        return check_output(commands[i].run(argc, argv));
    }
    (void)fprintf(stderr, "msaas: unknown command \"%s\"", argv[0]);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!ms_option_resembles(argv[0], commands[i].name))
            continue;
        (void)fprintf(stderr, "; did you mean \"%s\"?", commands[i].name);
        break;
    }
    (void)fputs(" (see msaas --help)\n", stderr);
    return MS_EXIT_USAGE;
}

static int help(int argc, char **argv) {
    char option[] = "--help";
    char *asked[] = {argv[0], argc > 1 ? argv[1] : NULL, option, NULL};
    if (argc > 1 && strcmp(argv[1], "--markdown") == 0)
        ms_options_print_markdown(stdout); /* for the README */
    else if (argc > 1 && strcmp(argv[1], "help") != 0)
        return run(2, asked + 1);
    else
        print_overview();
    return MS_EXIT_OK;
}

int main(int argc, char **argv) {
    (void)signal(SIGPIPE,
                 SIG_IGN); /* a reader that went away is an error of write(), not our end */
    if (argc < 2) {
        print_overview();
        return MS_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return puts("msaas " MSAAS_VERSION) < 0 ? MS_EXIT_FAILED : MS_EXIT_OK;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(1, argv);
    return run(argc - 1, argv + 1);
}
