/* What the errors mean that Redis answers with. One table; any thread. */
#ifndef MSAAS_QUEUE_REDIS_REFUSALS_H
#define MSAAS_QUEUE_REDIS_REFUSALS_H

/* The code of an error reply, as ms_redis_call gives it. *remedy: what an operator is to do about
 * it; NULL: nothing, or nothing that is known. */
int ms_redis_refusal(const char *reply, const char **remedy);

#endif
