/* Runs a fuzz target over every file of the folders (or files) named on the command line, in the
 * order of their names: what was once found stays found, without libFuzzer. An empty input is
 * always tried first. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static void die(const char *what, const char *path) {
    fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void replay_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        die("cannot open", path);
    /* Exactly as large as the input, so that a sanitizer sees a read one byte past its end. */
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size)
        die("cannot read", path);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

static int visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int replay(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0)
        die("cannot stat", path);
    if (!S_ISDIR(status.st_mode)) {
        replay_file(path, (size_t)status.st_size);
        return 1;
    }
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, visible, alphasort);
    if (count < 0)
        die("cannot list", path);
    int replayed = 0;
    for (int i = 0; i < count; i++) {
        char *child = NULL;
        if (asprintf(&child, "%s/%s", path, entries[i]->d_name) < 0)
            die("no memory for", path);
        replayed += replay(child);
        free(child);
        free(entries[i]);
    }
    free(entries);
    return replayed;
}

int main(int argc, char **argv) {
    if (LLVMFuzzerInitialize != NULL)
        (void)LLVMFuzzerInitialize(&argc, &argv);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    int replayed = 0;
    for (int i = 1; i < argc; i++)
        replayed += replay(argv[i]);
    if (replayed == 0) {
        fprintf(stderr, "no input to replay\n");
        return 1;
    }
    printf("%d inputs replayed\n", replayed);
    return 0;
}
