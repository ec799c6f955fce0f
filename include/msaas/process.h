/* What a process that runs networks needs to be. */
#ifndef MSAAS_PROCESS_H
#define MSAAS_PROCESS_H

/* First thing in a subcommand that runs networks, on the main thread while it is the only one:
 * sets up the allocator. */
void ms_process_prepare(void);

#endif
