/* The walls around the decoder's process. FFmpeg's parsers meet hostile files in there: whatever a
 * file makes of them, it has nothing to take and nowhere to go. Each wall holds alone; a kernel
 * that refuses one leaves the others.
 *
 * A system call that is not allowed fails with EPERM. It does not end the process, so that a
 * library that tries one more call in its next release goes on without it. */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>

/* Beyond what the program and its libraries take. FFmpeg's largest honest needs are a day's index
 * and a cover of 16 MiB, which it copies. */
#define MEMORY_BYTES ((rlim_t)384 << 20)

static bool set_limit(__rlimit_resource_t resource, rlim_t value) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0)
        return false;
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    if (resource != RLIMIT_CPU) /* which the parent raises, in proportion to the audio */
        limit.rlim_max = limit.rlim_cur;
    return setrlimit(resource, &limit) == 0;
}

/* Addresses in use: all kinds of memory count. */
static rlim_t address_bytes(void) {
    char line[128];
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        if (fgets(line, sizeof line, file) != NULL)
            pages = strtoull(line, NULL, 10);
        (void)fclose(file);
    }
    return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* All are set, also where one fails. */
static bool limit_resources(int cpu_s, rlim_t used) {
    bool set = set_limit(RLIMIT_CPU, (rlim_t)cpu_s);
    set &= set_limit(RLIMIT_CORE, 0);
    set &= set_limit(RLIMIT_FSIZE, 0);
    set &= set_limit(RLIMIT_NOFILE, 0);
    return set && (!MS_LIMITS_MEMORY || (used > 0 && set_limit(RLIMIT_AS, used + MEMORY_BYTES)));
}

static bool drop_rights(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    bool dropped = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    dropped &= syscall(SYS_capset, &head, none) == 0;
    dropped &= prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
    return dropped;
}

/* Without one exception, so that the kernel needs nothing but the numbers: the bits and the size
 * that each version of its interface knows. */
static bool close_paths(void) {
    struct {
        uint64_t files, ports, scopes;
    } denied = {0};
    const long version =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1u /* asks for the version */);
    if (version < 1)
        return false;
    const int file_bits = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
    denied.files = (UINT64_C(1) << file_bits) - 1;
    denied.ports = 3;  /* bind, connect; from version 4 on */
    denied.scopes = 3; /* abstract sockets, signals; from version 6 on */
    const size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
    const int rules = (int)syscall(SYS_landlock_create_ruleset, &denied, size, 0u);
    if (rules < 0)
        return false;
    const bool closed = syscall(SYS_landlock_restrict_self, rules, 0u) == 0;
    (void)close(rules);
    return closed;
}

static bool filter_calls(void) {
    static const int allowed[] = {
        SCMP_SYS(pread64),       SCMP_SYS(lseek),      SCMP_SYS(write),
        SCMP_SYS(writev),        SCMP_SYS(brk),        SCMP_SYS(munmap),
        SCMP_SYS(mremap),        SCMP_SYS(madvise),    SCMP_SYS(futex),
        SCMP_SYS(clock_gettime), SCMP_SYS(getrandom),  SCMP_SYS(sched_getaffinity),
        SCMP_SYS(exit),          SCMP_SYS(exit_group), SCMP_SYS(restart_syscall),
        SCMP_SYS(sigaltstack), /* the sanitizers ask for it */
    };
    static const int of_memory[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = filter != NULL ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < sizeof allowed / sizeof *allowed; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; rc == 0 && i < sizeof of_memory / sizeof *of_memory; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, of_memory[i], 1,
                              SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)); /* no new code */
    if (rc == 0)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc == 0;
}

unsigned ms_confine(int cpu_s) {
    /* Nobody is left waiting for a process that outlives its parent, and if the machine's memory
     * runs out, this one goes, not its parent. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    (void)prctl(PR_SET_NAME, "msaas-decode", 0, 0, 0);
    const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) {
        (void)!write(score, "1000", 4);
        (void)close(score);
    }
    const rlim_t used = address_bytes(); /* while files can be opened */
    unsigned missing = 0;
    if (!drop_rights())
        missing |= MS_WALL_RIGHTS;
    if (!close_paths())
        missing |= MS_WALL_LANDLOCK;
    if (!limit_resources(cpu_s, used))
        missing |= MS_WALL_LIMITS;
    if (!filter_calls())
        missing |= MS_WALL_SECCOMP;
    return missing;
}
