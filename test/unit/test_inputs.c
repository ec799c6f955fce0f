/* Files and folders of a command line -> songs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inputs.h"
#include "msaas/sys.h"

static char root[] = "/tmp/msaas-inputs-XXXXXX";
static char refusals[4000];

static void note_refusal(void *context, const char *path, const struct ms_error *err) {
    (void)context;
    assert_non_null(strstr(err->text, path));
    size_t used = strlen(refusals);
    (void)snprintf(refusals + used, sizeof refusals - used, "%s\n", err->text);
}

static void put(const char *name) {
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(ms_make_dirs(path, NULL), 0);
    *slash = '/';
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state) {
    static const char *const files[] = {
        "b.MP3",        "a.wav",      "notes.txt",  "list.m3u8",        "noext",
        ".hidden.mp3",  ".git/x.mp3", "sub/c.flac", "sub/deep/d.x.ogg", "out/model/a/vocals.wav",
        "empty/readme", "...mp3",
    };
    (void)state;
    if (mkdtemp(root) == NULL || chdir(root) != 0)
        return -1;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        put(files[i]);
    return symlink("..", "sub/loop") | symlink("../a.wav", "sub/link.wav") |
           symlink("nowhere", "sub/dangling.mp3") | symlink("sub", "to_sub");
}

static int teardown(void **state) {
    (void)state;
    char *command = ms_strdupf("rm -rf %s", root);
    int rc = command == NULL ? -1 : system(command);
    free(command);
    return rc;
}

/* "path|track|extension" of every song, a line each. */
static char *listed(const char *argument, bool recursive, const struct stat *skip) {
    struct ms_inputs inputs = {.refused = note_refusal};
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    refusals[0] = '\0';
    assert_int_equal(ms_inputs_add(&inputs, argument, recursive, skip, NULL), 0);
    for (int i = 0; i < inputs.count; i++)
        (void)fprintf(to, "%s|%s|%s\n", inputs.items[i].path, inputs.items[i].track,
                      inputs.items[i].extension);
    assert_int_equal(fclose(to), 0);
    ms_inputs_clear(&inputs);
    return text;
}

static void expect(const char *argument, bool recursive, const char *songs, const char *refused) {
    char *text = listed(argument, recursive, NULL);
    assert_string_equal(text, songs);
    if (strstr(refusals, refused) == NULL || (refused[0] == '\0' && refusals[0] != '\0'))
        fail_msg("%s: refusals are \"%s\"", argument, refusals);
    free(text);
}

static void single_files(void **state) {
    (void)state;
    expect("sub/deep/d.x.ogg", false, "sub/deep/d.x.ogg|d.x|ogg\n", "");
    expect("noext", true, "noext|noext|\n", ""); /* named: whatever it is called */
    expect(".hidden.mp3", false, ".hidden.mp3|.hidden|mp3\n", "");
    expect("...mp3", false, "...mp3|..|mp3\n", "");
    expect("missing.mp3", true, "", "missing.mp3: No such file");
    expect("a.wav/x.mp3", true, "", "a.wav/x.mp3: Not a directory");
    expect("sub", false, "", "sub: is a folder; use -r");
}

static void folders(void **state) {
    (void)state;
    struct stat out;
    expect("sub", true, "sub/c.flac|c|flac\nsub/deep/d.x.ogg|deep/d.x|ogg\nsub/link.wav|link|wav\n",
           "");
    expect("to_sub/", true,
           "to_sub/c.flac|c|flac\nto_sub/deep/d.x.ogg|deep/d.x|ogg\nto_sub/link.wav|link|wav\n",
           "");
    expect("empty", true, "", "empty: no audio or video");
    assert_int_equal(stat("out", &out), 0);
    char *text = listed(".", true, &out);
    assert_string_equal(text, "./a.wav|a|wav\n./b.MP3|b|MP3\n./sub/c.flac|sub/c|flac\n"
                              "./sub/deep/d.x.ogg|sub/deep/d.x|ogg\n./sub/link.wav|sub/link|wav\n");
    assert_string_equal(refusals, "");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_files),
        cmocka_unit_test(folders),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
