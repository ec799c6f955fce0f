/* The list of subcommands, and how one is chosen. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "msaas/audio.h"
#include "msaas/cmd.h"
#include "msaas/process.h"

static const struct ms_command *const commands[] = {
    &ms_cmd_separate, &ms_cmd_bench,  &ms_cmd_model,  &ms_cmd_up,    &ms_cmd_serve, &ms_cmd_work,
    &ms_cmd_logs,     &ms_cmd_submit, &ms_cmd_status, &ms_cmd_fetch, &ms_cmd_mix,   &ms_cmd_queue,
    &ms_cmd_rm,       &ms_cmd_health, &ms_cmd_config, &ms_cmd_token, NULL,
};

static void print_overview(void) {
    (void)puts(
        "msaas separates music into stems with Meta's Demucs v4.\n"
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
    for (const struct ms_command *const *command = commands; *command != NULL; command++)
        (void)printf("  %-10s %s\n", (*command)->name, (*command)->summary);
    (void)printf("  %-10s %s\n", "help",
                 "show this overview, or the help of a command: msaas help separate");
    (void)puts("\nmsaas COMMAND --help explains a command; msaas --version shows the version.");
}

/* A command whose output could not be written has failed. */
static int check_output(int exit_code) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return exit_code;
    if (!ms_cmd_reader_is_gone()) /* a reader that has stopped, like `head`, knows */
        (void)fprintf(stderr, "msaas: standard output: %s\n", strerror(errno));
    return exit_code == MS_EXIT_OK ? MS_EXIT_FAILED : exit_code;
}

static int unknown(const char *name) {
    (void)fprintf(stderr, "msaas: unknown command \"%s\"", name);
    for (const struct ms_command *const *command = commands; *command != NULL; command++) {
        if (!ms_option_resembles(name, (*command)->name))
            continue;
        (void)fprintf(stderr, "; did you mean \"%s\"?", (*command)->name);
        break;
    }
    (void)fputs(" (see msaas --help)\n", stderr);
    return MS_EXIT_USAGE;
}

/* argv[0] is the command's name. */
static int run(int argc, char **argv) {
    const struct ms_command *command = ms_command_find(commands, argv[0]);
    if (command == NULL)
        return unknown(argv[0]);
    if (command->runs_networks)
        ms_process_prepare();
    const struct ms_call call = {
        .command = command, .commands = commands, .argc = argc, .argv = argv};
    return check_output(command->run(&call));
}

/* argv[1], if any, is the command to be explained. */
static int help(int argc, char **argv) {
    char option[] = "--help";
    char *asked[] = {argc > 1 ? argv[1] : NULL, option, NULL};
    if (argc > 2 && strcmp(argv[1], "--markdown") == 0 && strcmp(argv[2], "jobs") == 0)
        ms_job_options_print_markdown(stdout); /* for docs/api.md */
    else if (argc > 1 && strcmp(argv[1], "--markdown") == 0)
        ms_options_print_markdown(commands, stdout); /* for docs/operations.md */
    else if (argc > 1 && strcmp(argv[1], "help") != 0)
        return run(2, asked);
    else
        print_overview();
    return check_output(MS_EXIT_OK);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN); /* writing to a closed pipe is an error, not our end */
    if (argc < 2) {
        print_overview();
        return MS_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return puts("msaas " MSAAS_VERSION) < 0 ? MS_EXIT_FAILED : MS_EXIT_OK;
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return help(1, argv);
    if (strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1);
    return run(argc - 1, argv + 1);
}
