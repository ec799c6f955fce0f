/* How a process prepares to run networks. */
#ifndef MSAAS_PROCESS_H
#define MSAAS_PROCESS_H

/* Sets up the allocator. A subcommand that runs networks calls it first, while the main thread is
 * the only one. */
void ms_process_prepare(void);

#endif
