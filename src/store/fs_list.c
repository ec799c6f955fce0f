/* Objects in a folder, listed page by page: folders are read whole, sorted, and entered where the
 * page needs what is in them. Owns the names of the folders on the way; runs on the caller's
 * thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "msaas/sys.h"

struct names {
    char **all; /* of folders with a slash behind them, so that they sort as keys do */
    size_t count, capacity;
};

static int add(struct names *names, char *name, struct ms_error *err) {
    if (name != NULL && names->count == names->capacity) {
        const size_t capacity = 2 * names->capacity + 64;
        char **grown = realloc(names->all, capacity * sizeof *grown);
        if (grown != NULL) {
            names->all = grown;
            names->capacity = capacity;
        }
    }
    if (name == NULL || names->count == names->capacity) {
        free(name);
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of objects");
    }
    names->all[names->count++] = name;
    return 0;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_prefix(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Those that may be on the page, or lead to what is. path: the folder's part of the keys. */
static int read_names(DIR *entries, const char *path, const char *prefix, struct names *names,
                      struct ms_error *err) {
    const char *begin = has_prefix(prefix, path) ? prefix + strlen(path) : "";
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir(entries)) != NULL) { // NOLINT(concurrency-mt-unsafe)
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strncmp(entry->d_name, begin, strcspn(begin, "/")) != 0 ||
            fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISDIR(status.st_mode))
            rc = add(names, ms_strdupf("%s/", entry->d_name), err);
        else if (S_ISREG(status.st_mode))
            rc = add(names, strdup(entry->d_name), err);
    }
    if (names->count > 0)
        qsort(names->all, names->count, sizeof *names->all, compare);
    return rc;
}

static int list_one(const struct ms_fs_list *list, int folder, const char *key, char *name,
                    struct ms_error *err) {
    const size_t size = strlen(name);
    if (name[size - 1] == '/') {
        name[size - 1] = '\0';
        if ((!has_prefix(key, list->prefix) && !has_prefix(list->prefix, key)) ||
            (strcmp(key, list->after) < 0 && !has_prefix(list->after, key)))
            return 0; /* nothing in it is on the page */
        const int inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return inner >= 0 ? ms_fs_list_folder(list, inner, key, err) : 0;
    }
    struct stat status;
    if (!has_prefix(key, list->prefix) || strcmp(key, list->after) <= 0 ||
        fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    struct ms_object_entry *entry = &list->entries[(*list->count)++];
    memcpy(entry->key, key, strlen(key) + 1);
    entry->bytes = status.st_size;
    entry->modified_ms = (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
    return 0;
}

int ms_fs_list_folder(const struct ms_fs_list *list, int folder, const char *path,
                      struct ms_error *err) {
    struct names names = {0};
    DIR *entries = fdopendir(folder);
    if (entries == NULL) {
        const int error = errno;
        (void)close(folder);
        return ms_error_set(err, MS_EIO, "cannot list %s: %s", path, strerror(error));
    }
    int rc = read_names(entries, path, list->prefix, &names, err);
    char key[MS_STORE_KEY_BYTES];
    for (size_t i = 0; rc == 0 && i < names.count && *list->count < list->max; i++)
        if (snprintf(key, sizeof key, "%s%s", path, names.all[i]) < (int)sizeof key)
            rc = list_one(list, folder, key, names.all[i], err);
    (void)closedir(entries);
    for (size_t i = 0; i < names.count; i++)
        free(names.all[i]);
    free(names.all);
    return rc;
}
