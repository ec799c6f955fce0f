/* The table of job options, walked through every door: each takes and refuses the same values, and
 * makes the same of them. Doors: the command line of `msaas submit`, the query, the form and the
 * JSON of POST /apiv2/jobs, /apiv1 (which has the model only), and the job's own JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/cmd.h"
#include "msaas/job.h"
#include "msaas/json.h"
#include "msaas/url.h"
#include "msaas/value.h"
#include "song_request.h"

#define TEXT_MAX 512
#define SONG_MAX 1000

static const struct ms_command *const commands[] = {&ms_cmd_submit, NULL};

/* ---- doors: whether the value was taken, and what came of it ---- */

static bool through_query(const char *name, const char *text, struct ms_job_options *out) {
    char *encoded = ms_percent_encode(text, false);
    char query[2 * TEXT_MAX];
    (void)snprintf(query, sizeof query, "%s=%s", name, encoded);
    free(encoded);
    struct ms_song_request request;
    struct ms_problem problem = {0};
    const bool taken = ms_song_request_v2(NULL, query, "song", 4, SONG_MAX, &request, &problem);
    *out = request.options;
    ms_song_request_fini(&request);
    return taken;
}

static bool through_form(const char *name, const char *text, struct ms_job_options *out) {
    struct ms_song_request request;
    struct ms_problem problem = {0};
    char body[2 * TEXT_MAX];
    const int size = snprintf(body, sizeof body,
                              "--x\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
                              "--x\r\nContent-Disposition: form-data; name=\"file\"; "
                              "filename=\"s\"\r\n\r\nsong\r\n--x--\r\n",
                              name, text);
    const bool taken = ms_song_request_v2("multipart/form-data; boundary=x", "", body, (size_t)size,
                                          SONG_MAX, &request, &problem);
    *out = request.options;
    ms_song_request_fini(&request);
    return taken;
}

/* The value as JSON. What parses as the option's JSON type goes as that, all else as a string. */
static void print_json(const struct ms_job_option *option, const char *text, char out[TEXT_MAX]) {
    struct ms_json *number = NULL;
    const bool is_number = option->type == MS_JOB_TYPE_INTEGER || option->type == MS_JOB_TYPE_REAL;
    if (option->type == MS_JOB_TYPE_NAMES) {
        size_t used = (size_t)snprintf(out, TEXT_MAX, "[\"");
        for (const char *at = text; *at != '\0'; at++)
            used += (size_t)snprintf(out + used, TEXT_MAX - used, *at == ',' ? "\",\"" : "%c", *at);
        (void)snprintf(out + used, TEXT_MAX - used, "\"]");
    } else if (is_number && strpbrk(text, " ") == NULL &&
               ms_json_parse(text, strlen(text), &number, NULL) == 0) {
        ms_json_free(number);
        (void)snprintf(out, TEXT_MAX, "%s", text);
    } else {
        (void)snprintf(out, TEXT_MAX, "\"%s\"", text);
    }
}

/* There are no uploads to name as the song: the options have been read when that is refused. */
static bool through_json(const struct ms_job_option *option, const char *text,
                         struct ms_job_options *out) {
    char value[TEXT_MAX];
    print_json(option, text, value);
    char body[2 * TEXT_MAX];
    const int size = snprintf(body, sizeof body, "{\"%s\":%s,\"source\":{\"upload\":\"x\"}}",
                              option->name, value);
    struct ms_song_request request;
    struct ms_problem problem = {0};
    assert_false(ms_song_request_v2("application/json", "", body, (size_t)size, SONG_MAX, &request,
                                    &problem));
    *out = request.options;
    ms_song_request_fini(&request);
    return strcmp(problem.code, "unknown_upload") == 0;
}

static bool through_v1(const char *text, struct ms_job_options *out) {
    struct ms_song_request request;
    struct ms_problem problem = {0};
    char body[TEXT_MAX];
    const int size = snprintf(body, sizeof body, "{\"mp3\":\"c29uZw==\",\"model\":\"%s\"}", text);
    const bool taken = ms_song_request_v1(body, (size_t)size, SONG_MAX, &request, &problem);
    *out = request.options;
    ms_song_request_fini(&request);
    return taken;
}

/* As `msaas submit` does: the command line's text goes into the query. The format has flags of its
 * own, --mp3 and so on. */
static bool through_command_line(const struct ms_job_option *option, const char *text,
                                 struct ms_job_options *out) {
    char word[TEXT_MAX];
    char name[] = "submit";
    (void)snprintf(word, sizeof word, option->flag != NULL ? "--%s=%s" : "--%s%s",
                   option->flag != NULL ? option->flag : "", text);
    char *argv[] = {name, word, NULL};
    const struct ms_call call = {
        .command = &ms_cmd_submit, .commands = commands, .argc = 2, .argv = argv};
    struct ms_options *options = NULL;
    ms_job_options_default("", out);
    if (ms_options_parse(&call, &options, NULL) != 0)
        return false;
    bool taken = option->flag == NULL && through_query(option->name, text, out);
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        struct ms_option_view view;
        if (ms_options_view(options, id, &view) && view.job_name != NULL && view.given != NULL) {
            assert_string_equal(view.job_name, option->name);
            taken = through_query(view.job_name, view.text, out);
        }
    }
    ms_options_free(options);
    return taken;
}

/* Written and read again, as a queue does. */
static void through_a_record(const struct ms_job_options *options, struct ms_job_options *out) {
    struct ms_json_writer *w = ms_json_writer_new();
    ms_json_begin_object(w, NULL);
    ms_job_options_to_json(options, w);
    ms_json_end_object(w);
    size_t size = 0;
    const char *text = ms_json_writer_text(w, &size);
    struct ms_json *document = NULL;
    assert_int_equal(ms_json_parse(text, size, &document, NULL), 0);
    ms_job_options_default("", out);
    assert_int_equal(ms_job_options_from_json(document, out, NULL), 0);
    ms_json_free(document);
    ms_json_writer_free(w);
}

/* ---- the walk ---- */

static void assert_same(const struct ms_job_option *option, const char *text, const char *door,
                        const struct ms_job_options *a, const struct ms_job_options *b) {
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *other = &ms_job_option_table[i];
        if (memcmp((const char *)a + other->offset, (const char *)b + other->offset,
                   other->bytes) != 0)
            fail_msg("%s=%s: %s gives another %s", option->name, text, door, other->name);
    }
    assert_int_equal(a->stem_count, b->stem_count);
}

static void walk(const struct ms_job_option *option, const char *text) {
    const bool is_model = option == &ms_job_option_table[MS_JOB_OPTION_MODEL];
    struct ms_job_options direct;
    ms_job_options_default("", &direct);
    const bool good = ms_job_option_set(&direct, option, text, NULL) == 0;
    struct ms_job_options out;
    const struct {
        const char *name;
        bool taken;
        struct ms_job_options options;
    } doors[] = {
        {"the command line", through_command_line(option, text, &out), out},
        {"the query", through_query(option->name, text, &out), out},
        {"the form", through_form(option->name, text, &out), out},
        {"JSON", through_json(option, text, &out), out},
        {"/apiv1", is_model ? through_v1(text, &out) : good, is_model ? out : direct},
    };
    for (size_t i = 0; i < sizeof doors / sizeof *doors; i++) {
        if (doors[i].taken != good)
            fail_msg("%s=%s: %s %s it, the table does not", option->name, text, doors[i].name,
                     doors[i].taken ? "takes" : "refuses");
        if (good)
            assert_same(option, text, doors[i].name, &direct, &doors[i].options);
    }
    if (good && ms_job_options_check(&direct, NULL) == 0) {
        through_a_record(&direct, &out);
        assert_same(option, text, "a record", &direct, &out);
    }
}

static void walk_number(const struct ms_job_option *option) {
    static const char *const words[] = {"x",   "1 ",  " 1", "0x10",  "nan",
                                        "inf", "--1", "1e", "1e999", "99999999999999999999999",
                                        "1,5"};
    char text[TEXT_MAX];
    const double step = option->type == MS_JOB_TYPE_INTEGER ? 1 : 0.001;
    const double values[] = {option->least, option->most, option->least - step,
                             option->most + 2 * step, (option->least + option->most) / 2};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        (void)snprintf(text, sizeof text, "%.17g", values[i]);
        walk(option, text);
    }
    walk(option, option->type == MS_JOB_TYPE_REAL ? "2.5e-1" : "2.5");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        walk(option, words[i]);
}

static void walk_words(const struct ms_job_option *option) {
    char text[TEXT_MAX] = "";
    for (int i = 0; i == 0 || text[0] != '\0'; i++) {
        ms_value_of_choice(option->value, i, text, sizeof text);
        if (text[0] != '\0')
            walk(option, text);
    }
    walk(option, "other");
    (void)snprintf(text, sizeof text, "%.3s", option->value);
    if (strcmp(text, "mp3") != 0)
        walk(option, text);
}

static void walk_names(const struct ms_job_option *option) {
    static const char *const names[] = {"vocals", "a-b_C9", "a b", "../x", ".x", "a/b", "a,b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        walk(option, names[i]);
    const size_t capacity = option->type == MS_JOB_TYPE_NAMES ? 32 : option->bytes;
    char longest[TEXT_MAX];
    for (size_t length = capacity - 1; length <= capacity; length++) {
        memset(longest, 'a', length);
        longest[length] = '\0';
        walk(option, longest);
    }
    if (option->type != MS_JOB_TYPE_NAMES)
        return;
    walk(option, "drums,,bass");
    walk(option, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q");
    walk(option, "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r");
}

static void every_door_reads_the_table(void **state) {
    (void)state;
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        switch (option->type) {
        case MS_JOB_TYPE_NAME:
        case MS_JOB_TYPE_NAMES: walk_names(option); break;
        case MS_JOB_TYPE_CHOICE:
        case MS_JOB_TYPE_ENUM: walk_words(option); break;
        case MS_JOB_TYPE_INTEGER:
        case MS_JOB_TYPE_REAL: walk_number(option); break;
        }
    }
}

/* What four copies of the rules disagreed on. */
static void former_faults(void **state) {
    struct ms_job_options options;
    (void)state;
    assert_true(
        through_command_line(&ms_job_option_table[MS_JOB_OPTION_OVERLAP], "2.5e-1", &options));
    assert_true(options.overlap == 0.25);
    assert_false(through_command_line(&ms_job_option_table[MS_JOB_OPTION_SHIFTS], "50", &options));
}

/* Each option has a default that its own rule takes, and a place of its own. */
static void the_table_is_in_order(void **state) {
    (void)state;
    for (int i = 0; i < MS_JOB_OPTION_COUNT; i++) {
        const struct ms_job_option *option = &ms_job_option_table[i];
        assert_non_null(option->name);
        assert_non_null(option->text);
        assert_ptr_equal(ms_job_option_find(option->name), option);
        if (option->standard != NULL)
            assert_int_equal(ms_job_option_check(option, option->standard, NULL), 0);
        for (int j = 0; j < i; j++)
            assert_true(ms_job_option_table[j].offset != option->offset);
    }
    assert_null(ms_job_option_find("no_option"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_in_order),
        cmocka_unit_test(every_door_reads_the_table),
        cmocka_unit_test(former_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
