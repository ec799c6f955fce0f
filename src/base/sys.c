/* What the machine and its container allow, and helpers for files. Reads /proc and the cgroup file
 * systems. Owns nothing; any thread. */
#include "msaas/sys.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- limits ---- */

/* The first line of root/folder/name; false if there is no such file. */
static bool read_line(const char *root, const char *folder, const char *name, char *line,
                      int size) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool got = fgets(line, size, file) != NULL;
    (void)fclose(file);
    return got;
}

static void lower_cpus(struct ms_limits *limits, double quota, double period) {
    if (quota > 0 && period > 0 && quota / period < limits->cpus)
        limits->cpus = quota / period;
}

static void lower_memory(struct ms_limits *limits, const char *line) {
    char *end = NULL;
    errno = 0;
    long long bytes = strtoll(line, &end, 10); /* "max" has no digits: no limit */
    if (end != line && errno == 0 && bytes > 0 && bytes < limits->memory_bytes)
        limits->memory_bytes = bytes;
}

/* One folder of a cgroup hierarchy of version 1 or 2; it has only the files of its version. */
static void apply_cgroup(const char *root, const char *folder, struct ms_limits *limits) {
    char line[128];
    char *period = NULL;
    if (read_line(root, folder, "cpu.max", line,
                  sizeof line)) { /* "QUOTA PERIOD" or "max PERIOD" */
        double quota = strtod(line, &period);
        lower_cpus(limits, quota, strtod(period, NULL));
    }
    char period_line[128];
    if (read_line(root, folder, "cpu.cfs_quota_us", line, sizeof line) &&
        read_line(root, folder, "cpu.cfs_period_us", period_line, sizeof period_line))
        lower_cpus(limits, strtod(line, NULL), strtod(period_line, NULL));
    if (read_line(root, folder, "memory.max", line, sizeof line))
        lower_memory(limits, line);
    if (read_line(root, folder, "memory.limit_in_bytes", line, sizeof line))
        lower_memory(limits, line);
}

/* Takes the tightest limit of all folders from the cgroup of the process up to the mount point.
 * `path` is changed. A container may see a path of its host, which does not exist here; then the
 * mount point counts, which is the cgroup of the container. */
static void apply_cgroups_upwards(const char *root, const char *mount_point, char *path,
                                  struct ms_limits *limits) {
    for (;;) {
        char folder[PATH_MAX];
        int length = snprintf(folder, sizeof folder, "%s%s", mount_point, path);
        if (length >= 0 && (size_t)length < sizeof folder)
            apply_cgroup(root, folder, limits);
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

/* Whether `name` is one of the comma-separated names in `list`. */
static bool list_has(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length) {
        bool starts = at == list || at[-1] == ',';
        if (starts && (at[length] == '\0' || at[length] == ',' || at[length] == '\n'))
            return true;
    }
    return false;
}

/* The path of the process in the hierarchy with this controller ("" for version 2), from
 * /proc/self/cgroup. */
static bool own_cgroup(const char *root, const char *controller, char *path, size_t size) {
    char name[PATH_MAX];
    char *line = NULL;
    size_t line_size = 0;
    bool found = false;
    (void)snprintf(name, sizeof name, "%s/proc/self/cgroup", root);
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return false;
    while (!found && getline(&line, &line_size, file) > 0) { /* ID:CONTROLLERS:PATH */
        char *list = strchr(line, ':');
        char *own = list == NULL ? NULL : strchr(list + 1, ':');
        if (own == NULL)
            continue;
        *own++ = '\0';
        list++;
        found = controller[0] == '\0' ? list[0] == '\0' : list_has(list, controller);
        own[strcspn(own, "\n")] = '\0';
        if (found)
            found = (size_t)snprintf(path, size, "%s", strcmp(own, "/") == 0 ? "" : own) < size;
    }
    free(line);
    (void)fclose(file);
    return found;
}

/* Walks the mounts; a line is "ID PARENT DEV ROOT POINT OPTIONS ... - TYPE SOURCE SUPEROPTIONS". */
static void read_cgroups(const char *root, struct ms_limits *limits) {
    static const char *const controllers[] = {"cpu", "memory"};
    char name[PATH_MAX];
    char *line = NULL;
    size_t line_size = 0;
    (void)snprintf(name, sizeof name, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return;
    while (getline(&line, &line_size, file) > 0) {
        char *fields[5];
        char *rest = line;
        for (int i = 0; i < 5; i++)
            fields[i] = strsep(&rest, " ");
        char *tail = rest == NULL ? NULL : strstr(rest, " - ");
        if (tail == NULL || strncmp(tail + 3, "cgroup", 6) != 0)
            continue;
        bool unified = tail[9] == '2';
        char *options = strrchr(tail, ' ') + 1;
        for (size_t i = 0; i < (unified ? 1 : sizeof controllers / sizeof *controllers); i++) {
            char path[PATH_MAX];
            const char *controller = unified ? "" : controllers[i];
            if ((!unified && !list_has(options, controller)) ||
                !own_cgroup(root, controller, path, sizeof path))
                continue;
            /* A mount may show only a part of the hierarchy: then the paths below it begin at
             * ROOT. */
            size_t hidden = strcmp(fields[3], "/") == 0 ? 0 : strlen(fields[3]);
            char *below = path;
            if (hidden > 0 && strncmp(path, fields[3], hidden) == 0 &&
                (path[hidden] == '/' || path[hidden] == '\0'))
                below = path + hidden;
            apply_cgroups_upwards(root, fields[4], below, limits);
        }
    }
    free(line);
    (void)fclose(file);
}

static int affinity_count(void) {
    /* The kernel refuses (EINVAL) a set that is smaller than its own: enlarge it until it fits. */
    for (size_t cpus = 1024; cpus <= 1 << 16; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (set == NULL)
            break;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

/* The text after "KEY ... :" of the first line of root/proc/NAME that starts with KEY. */
static bool proc_value(const char *root, const char *name, const char *key, char *value,
                       size_t size) {
    char path[PATH_MAX];
    char *line = NULL;
    size_t line_size = 0;
    bool found = false;
    (void)snprintf(path, sizeof path, "%s/proc/%s", root, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!found && getline(&line, &line_size, file) > 0) {
        char *colon = strchr(line, ':');
        if (colon == NULL || strncmp(line, key, strlen(key)) != 0)
            continue;
        char *text = colon + 1 + strspn(colon + 1, " \t");
        text[strcspn(text, "\n")] = '\0';
        (void)snprintf(value, size, "%s", text);
        found = text[0] != '\0';
    }
    free(line);
    (void)fclose(file);
    return found;
}

void ms_limits_read(const char *root, struct ms_limits *out) {
    *out = (struct ms_limits){.cpus = affinity_count()};
    char total[64];
    long long kib = 0;
    if (proc_value(root, "meminfo", "MemTotal", total, sizeof total))
        kib = strtoll(total, NULL, 10);
    if (kib > 0 && kib < INT64_MAX / 1024)
        out->memory_bytes = kib * 1024;
    else
        out->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    struct utsname system;
    if (!proc_value(root, "cpuinfo", "model name", out->cpu_name, sizeof out->cpu_name) &&
        uname(&system) == 0)
        (void)snprintf(out->cpu_name, sizeof out->cpu_name, "%s", system.machine);
    read_cgroups(root, out);
}

int ms_limits_lanes(const struct ms_limits *limits, int64_t base_bytes, int64_t lane_bytes) {
    int64_t by_cpu = (int64_t)(limits->cpus + 0.5); /* two lanes are needed to use 1.5 processors */
    int64_t by_memory = (limits->memory_bytes - base_bytes) / lane_bytes;
    int64_t lanes = by_cpu < by_memory ? by_cpu : by_memory;
    return lanes < 1 ? 1 : (int)lanes;
}

double ms_monotonic_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

int64_t ms_unix_ms(void) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ms_peak_rss_bytes(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}

void ms_memory_trim(void) {
    (void)malloc_trim(0);
}

/* ---- files and strings ---- */

int ms_make_dirs(const char *path, struct ms_error *err) {
    char *copy = strdup(path);
    if (copy == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for the name of a folder");
    int rc = 0;
    for (char *at = copy; rc == 0 && *at != '\0';) {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        char kept = *at;
        *at = '\0';
        int made = mkdir(copy, 0777);
        struct stat status;
        if (made != 0) {
            int cause = errno;
            if (stat(copy, &status) != 0)
                rc = ms_error_about(err, MS_EIO, copy, "cannot make this folder: %s",
                                    strerror(cause));
            else if (!S_ISDIR(status.st_mode))
                rc = ms_error_about(err, MS_EIO, copy, "is a file, not a folder");
        }
        *at = kept;
    }
    free(copy);
    return rc;
}

char *ms_strdupf(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    return length < 0 ? NULL : text;
}

int ms_models_dir(const char *chosen, char **out, struct ms_error *err) {
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (chosen != NULL && chosen[0] != '\0')
        *out = strdup(chosen);
    else if (data != NULL && data[0] == '/') /* the XDG rules ignore relative ones */
        *out = ms_strdupf("%s/msaas/models", data);
    else if (home != NULL && home[0] != '\0')
        *out = ms_strdupf("%s/.local/share/msaas/models", home);
    else
        return ms_error_set(
            err, MS_EUSAGE,
            "no folder for models, because HOME is not set: give --models-dir or MSAAS_MODELS_DIR");
    return *out != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for the name of a folder");
}
