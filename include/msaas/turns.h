/* Whose turn it is: each host is called by one at a time, whatever the port, and those that come
 * meanwhile are told when to come again, one after the other at the pace of that host. So one that
 * is slow, or dead, delays its own callbacks only. The caller gives the time, in seconds of any
 * clock that does not go back. One thread at a time. */
#ifndef MSAAS_TURNS_H
#define MSAAS_TURNS_H

#include <stdint.h>

struct ms_turns;
/* most: how many hosts are called at the same time. NULL: no memory. */
struct ms_turns *ms_turns_new(int most);
void ms_turns_free(struct ms_turns *turns); /* accepts NULL */

/* 0: nobody calls it now; else when to come again: in 20 ms to a minute. */
int64_t ms_turns_wait_ms(struct ms_turns *turns, const char *host, double now_s);
/* Of a host that nobody calls now, and of one that somebody does. */
void ms_turns_begin(struct ms_turns *turns, const char *host, double now_s);
void ms_turns_end(struct ms_turns *turns, const char *host, double now_s);

#endif
