/* The table of options -> --help and the tables in docs/. Owns nothing; any thread. */
#include <string.h>

#include "msaas/option.h"
#include "option_table.h"

#define HELP_COLUMN 28
#define HELP_WIDTH 80

static const char *signature(const struct ms_option_row *row, char *text, size_t size) {
    char letter[] = {'-', row->letter, ',', ' ', '\0'};
    (void)snprintf(text, size, "%s--%s%s%s", row->letter != 0 ? letter : "", row->name,
                   row->value != NULL ? " " : "", row->value != NULL ? row->value : "");
    return text;
}

/* Prints text without a break. If it would pass HELP_WIDTH, it goes on a new line, indented to
 * HELP_COLUMN. */
static void print_unit(const char *text, int length, int *column, FILE *to) {
    if (*column > HELP_COLUMN && *column + 1 + length > HELP_WIDTH) {
        (void)fprintf(to, "\n%*s", HELP_COLUMN, "");
        *column = HELP_COLUMN;
    } else if (*column > HELP_COLUMN) {
        (void)fputc(' ', to);
        ++*column;
    }
    (void)fprintf(to, "%.*s", length, text);
    *column += length;
}

static void print_note(const char *label, const char *text, int *column, FILE *to) {
    while (text != NULL) { /* "A|B" -> "[label: A, B]" */
        char note[100];
        size_t length = strcspn(text, "|");
        bool last = text[length] == '\0';
        int size = snprintf(note, sizeof note, "%s%s%s%.*s%s", label != NULL ? "[" : "",
                            label != NULL ? label : "", label != NULL ? ": " : "", (int)length,
                            text, last ? "]" : ",");
        print_unit(note, size, column, to);
        text = last ? NULL : text + length + 1;
        label = NULL;
    }
}

void ms_options_print_help(const struct ms_command *command, FILE *to) {
    (void)fputs("Options:\n", to);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct ms_option_row *row = ms_option_row(id);
        if (!ms_command_has(command, (enum ms_option_id)id))
            continue;
        char text[80];
        int column = fprintf(to, "  %s%s", row->letter == 0 ? "    " : "",
                             signature(row, text, sizeof text));
        if (column > HELP_COLUMN - 2) {
            (void)fputc('\n', to);
            column = 0;
        }
        (void)fprintf(to, "%*s", HELP_COLUMN - column, "");
        column = HELP_COLUMN;
        for (const char *word = row->help; *word != '\0'; word += strspn(word, " ")) {
            int length = (int)strcspn(word, " ");
            print_unit(word, length, &column, to);
            word += length;
        }
        print_note("default", row->fallback, &column, to);
        print_note("env", row->env, &column, to);
        (void)fputc('\n', to);
    }
}

/* A cell of a Markdown table: "|" would end it. */
static void print_code(const char *text, size_t length, FILE *to) {
    (void)fputc('`', to);
    for (; length > 0; length--, text++)
        (void)fputs(*text == '|' ? "\\|" : (const char[]){*text, '\0'}, to);
    (void)fputc('`', to);
}

void ms_job_options_print_markdown(FILE *to) {
    (void)fputs("| Option | Value | Default | What it does |\n|---|---|---|---|\n", to);
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        (void)fputs("| ", to);
        print_code(option->name, strlen(option->name), to);
        (void)fputs(" | ", to);
        if (option->most > 0)
            (void)fprintf(to, "%.16g to %.16g", option->least, option->most);
        else
            print_code(option->value, strlen(option->value), to);
        (void)fputs(" | ", to);
        if (option->standard != NULL)
            print_code(option->standard, strlen(option->standard), to);
        (void)fprintf(to, " | %s |\n", option->text);
    }
}

void ms_options_print_markdown(const struct ms_command *const *commands, FILE *to) {
    (void)fputs("| Option | Of | Default | Environment | What it does |\n"
                "|---|---|---|---|---|\n",
                to);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        const struct ms_option_row *row = ms_option_row(id);
        (void)fputs("| ", to);
        char text[80];
        print_code(text, strlen(signature(row, text, sizeof text)), to);
        const char *before = " | ";
        for (const struct ms_command *const *of = commands; *of != NULL; of++) {
            if (!ms_command_has(*of, (enum ms_option_id)id))
                continue;
            (void)fprintf(to, "%s%s", before, (*of)->name);
            before = ", ";
        }
        (void)fputs(" | ", to);
        if (row->fallback != NULL)
            print_code(row->fallback, strlen(row->fallback), to);
        before = " | ";
        for (const char *at = row->env; at != NULL && *at != '\0';) {
            size_t length = strcspn(at, "|");
            (void)fputs(before, to);
            print_code(at, length, to);
            at += length + (at[length] == '|');
            before = ", ";
        }
        (void)fputs(row->env == NULL ? " | " : "", to);
        (void)fprintf(to, " | %s |\n", row->help);
    }
}
