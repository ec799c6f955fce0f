/* Limits of machine and cgroup, read from folders that stand in for /proc and /sys; folders and
 * strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/sys.h"

#define GIB (INT64_C(1) << 30)

static char root[] = "/tmp/msaas-sys-XXXXXX";

static void put(const char *name, const char *text) {
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(ms_make_dirs(path, NULL), 0);
    *slash = '/';
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int remove_root(void **state) {
    (void)state;
    char *command = ms_strdupf("rm -rf %s", root);
    int rc = command == NULL ? -1 : system(command);
    free(command);
    return rc;
}

static int make_root(void **state) {
    (void)state;
    memcpy(strrchr(root, '-'), "-XXXXXX", 8);
    if (mkdtemp(root) == NULL)
        return -1;
    put("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n");
    put("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU @ 3 GHz\n");
    return 0;
}

static void without_cgroups(void **state) {
    (void)state;
    struct ms_limits limits;
    ms_limits_read(root, &limits);
    assert_true(limits.memory_bytes == 16 * GIB);
    assert_true(limits.cpus >= 1);
    assert_string_equal(limits.cpu_name, "Example CPU @ 3 GHz");
}

static void version_2_takes_the_tightest_of_the_path(void **state) {
    (void)state;
    struct ms_limits limits;
    put("proc/self/cgroup", "0::/a/b\n");
    put("proc/self/mountinfo", "30 22 0:27 / / rw - ext4 /dev/x rw\n"
                               "31 30 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
    put("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/a/memory.max", "2147483648\n");
    ms_limits_read(root, &limits);
    assert_true(limits.cpus == 0.5);
    assert_true(limits.memory_bytes == 2 * GIB);
    put("sys/fs/cgroup/a/b/memory.max", "max\n");
    put("sys/fs/cgroup/a/memory.max", "max\n");
    put("sys/fs/cgroup/a/b/cpu.max", "25000 100000\n");
    ms_limits_read(root, &limits);
    assert_true(limits.cpus == 0.25);
    assert_true(limits.memory_bytes == 16 * GIB);
}

static void version_1_with_joined_controllers(void **state) {
    (void)state;
    struct ms_limits limits;
    put("proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/c/d\n2:cpuset:/x\n0::/\n");
    put("proc/self/mountinfo",
        "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "33 30 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/d/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us", "30000\n");
    put("sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1073741824\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    ms_limits_read(root, &limits);
    assert_true(limits.cpus > 0.299 && limits.cpus < 0.301);
    assert_true(limits.memory_bytes == GIB);
}

static void a_container_sees_a_part_of_the_hierarchy(void **state) {
    (void)state;
    struct ms_limits limits;
    /* The mount shows /docker/abc as its root: a cgroup below it is named with that prefix. */
    put("proc/self/cgroup", "4:memory:/docker/abc/inner\n");
    put("proc/self/mountinfo",
        "32 30 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "3221225472\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "8589934592\n");
    ms_limits_read(root, &limits);
    assert_true(limits.memory_bytes == 3 * GIB);
    /* Names of the host that are not here: the mount point is the container's own. */
    put("proc/self/cgroup", "4:memory:/elsewhere\n");
    ms_limits_read(root, &limits);
    assert_true(limits.memory_bytes == 8 * GIB);
}

static void nonsense_is_no_limit(void **state) {
    (void)state;
    struct ms_limits limits;
    put("proc/self/cgroup", "0::/a\nno colons\n7:only\n");
    put("proc/self/mountinfo", "\n1 2 3\n31 30 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    put("sys/fs/cgroup/a/cpu.max", "0 0\n");
    put("sys/fs/cgroup/a/memory.max", "99999999999999999999999\n");
    put("sys/fs/cgroup/memory.max", "");
    ms_limits_read(root, &limits);
    assert_true(limits.cpus >= 1);
    assert_true(limits.memory_bytes == 16 * GIB);
}

static void affinity_counts(void **state) {
    (void)state;
    struct ms_limits limits;
    cpu_set_t before;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    ms_limits_read(root, &limits);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_true(limits.cpus == 1);
}

static void the_real_machine(void **state) {
    (void)state;
    struct ms_limits limits;
    ms_limits_read("", &limits);
    assert_true(limits.cpus > 0);
    assert_true(limits.memory_bytes > 0);
    assert_true(limits.cpu_name[0] != '\0');
    assert_true(ms_peak_rss_bytes() > 100000);
    double start = ms_monotonic_s();
    assert_true(start > 0 && ms_monotonic_s() >= start);
}

static void lanes(void **state) {
    (void)state;
    static const struct {
        double cpus;
        int64_t memory_bytes;
        int lanes;
    } cases[] = {
        {4, 16 * GIB, 4}, {4, 3 * GIB, 2},    {4, GIB, 1}, {0.2, 16 * GIB, 1},
        {64, 9 * GIB, 8}, {1.5, 16 * GIB, 2}, {2, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ms_limits limits = {.cpus = cases[i].cpus, .memory_bytes = cases[i].memory_bytes};
        assert_int_equal(ms_limits_lanes(&limits, GIB, GIB), cases[i].lanes);
    }
}

static void folders(void **state) {
    (void)state;
    struct ms_error err = {0};
    struct stat status;
    char *deep = ms_strdupf("%s/x//y/z/", root);
    char *below_file = ms_strdupf("%s/proc/meminfo/x", root);
    assert_int_equal(ms_make_dirs(deep, &err), 0);
    assert_int_equal(ms_make_dirs(deep, &err), 0);
    assert_int_equal(stat(deep, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
    assert_int_equal(ms_make_dirs(below_file, &err), MS_EIO);
    assert_non_null(strstr(err.text, "meminfo: is a file"));
    assert_int_equal(ms_make_dirs("/", &err), 0);
    free(deep);
    free(below_file);
}

static void models_folder(void **state) {
    (void)state;
    char *path = NULL;
    assert_int_equal(setenv("HOME", "/at/home", 1), 0);
    assert_int_equal(setenv("XDG_DATA_HOME", "/data", 1), 0);
    assert_int_equal(ms_models_dir("given", &path, NULL), 0);
    assert_string_equal(path, "given");
    free(path);
    assert_int_equal(ms_models_dir(NULL, &path, NULL), 0);
    assert_string_equal(path, "/data/msaas/models");
    free(path);
    assert_int_equal(setenv("XDG_DATA_HOME", "relative", 1), 0);
    assert_int_equal(ms_models_dir("", &path, NULL), 0);
    assert_string_equal(path, "/at/home/.local/share/msaas/models");
    free(path);
    assert_int_equal(unsetenv("HOME"), 0);
    assert_int_equal(ms_models_dir(NULL, &path, NULL), MS_EUSAGE);
}

static void free_space(void **state) {
    int64_t of_folder = -1, of_file = -1;
    struct ms_error err;
    (void)state;
    assert_int_equal(ms_disk_free("/proc", &of_folder, &err), 0);
    assert_int_equal(of_folder, 0); /* the one disk that is always full */
    assert_int_equal(ms_disk_free("/proc/self/exe", &of_file, &err), 0);
    assert_true(of_file >= 0);
    assert_int_equal(ms_disk_free("/proc/no-such", &of_file, &err), MS_EIO);
    assert_non_null(strstr(err.text, "/proc/no-such"));
}

int main(void) {
#define IN_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        IN_ROOT(without_cgroups),
        IN_ROOT(version_2_takes_the_tightest_of_the_path),
        IN_ROOT(version_1_with_joined_controllers),
        IN_ROOT(a_container_sees_a_part_of_the_hierarchy),
        IN_ROOT(nonsense_is_no_limit),
        IN_ROOT(affinity_counts),
        IN_ROOT(folders),
        cmocka_unit_test(free_space),
        cmocka_unit_test(the_real_machine),
        cmocka_unit_test(lanes),
        cmocka_unit_test(models_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
