/* Takes from this process what it does not need, before it reads what strangers made. */
#ifndef MSAAS_AUDIO_CONFINE_H
#define MSAAS_AUDIO_CONFINE_H

/* AddressSanitizer's shadow memory takes terabytes of addresses. */
#define MS_LIMITS_MEMORY 1
#ifdef __SANITIZE_ADDRESS__
#undef MS_LIMITS_MEMORY
#define MS_LIMITS_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef MS_LIMITS_MEMORY
#define MS_LIMITS_MEMORY 0
#endif
#endif

/* Each is a bit of what ms_confine returns. */
enum ms_wall {
    MS_WALL_SECCOMP = 1 << 0,  /* no system call but those for memory and open files */
    MS_WALL_LANDLOCK = 1 << 1, /* no path, no TCP port, no signal to others */
    MS_WALL_RIGHTS = 1 << 2,   /* no capability, no new rights */
    MS_WALL_LIMITS = 1 << 3,   /* memory, processor time, no new file */
    MS_WALLS = 4
};

/* For good, and for this process of one thread. Afterwards it can read and write what is open,
 * and take some memory. Once it has used cpu_s seconds of processor time it ends by SIGXCPU, unless
 * another process raises that limit. Returns the walls that the kernel refused. */
unsigned ms_confine(int cpu_s);

#endif
