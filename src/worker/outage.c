/* Joins what the worker's threads find when they call queue and store: two log lines for each
 * outage, and one for each new cause. Owns the lock of all outages. */
#include "outage.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "msaas/log.h"
#include "msaas/sys.h"

#define SETTLE_MS 15000 /* longer than any pause between attempts */
#define TELL_MS 5000    /* between two causes: threads may meet several at once, in turn */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t now_ms(void) {
    return (int64_t)(ms_monotonic_s() * 1000);
}

static bool answers(struct ms_outage *outage) {
    (void)pthread_mutex_lock(&lock);
    const int64_t now = now_ms();
    const bool back = outage->lost && now >= outage->back_ms;
    if (back) {
        outage->lost = false;
        outage->was_back_ms = now;
    }
    (void)pthread_mutex_unlock(&lock);
    if (back)
        ms_log(MS_LOG_INFO, "%s is back", outage->what);
    return false;
}

static bool fails(struct ms_outage *outage, int rc, const char *cause) {
    (void)pthread_mutex_lock(&lock);
    const int64_t now = now_ms();
    const bool begins = !outage->lost;
    (void)snprintf(outage->cause, sizeof outage->cause, "%.*s", (int)sizeof outage->cause - 1,
                   cause);
    /* Some calls fail and others work: of a damaged file, and of a server that does not write now,
     * which fails again soon after it was back. It is back when none has failed for a while. */
    if (begins)
        outage->partly = outage->was_back_ms > 0 && now < outage->was_back_ms + SETTLE_MS;
    if (outage->partly || rc == MS_EIO || rc == MS_ECORRUPT)
        outage->back_ms = now + SETTLE_MS;
    outage->lost = true;
    const bool tell =
        begins || (strcmp(outage->cause, outage->told) != 0 && now >= outage->told_ms + TELL_MS);
    if (tell) {
        memcpy(outage->told, outage->cause, sizeof outage->told);
        outage->told_ms = now;
    }
    (void)pthread_mutex_unlock(&lock);
    if (tell)
        ms_log(MS_LOG_WARN,
               begins ? "%s fails; trying again until it works: %s"
                      : "%s still fails, for another cause: %s",
               outage->what, cause);
    return true;
}

bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err) {
    switch (rc) {
    case MS_OK:
    case MS_ENOTFOUND:
    case MS_ECONFLICT:
    case MS_ETOOLARGE: return answers(outage);
    case MS_ECANCELED: return false; /* says nothing about the server */
    default: break;
    }
    ms_metric_add(outage->errors, 1, NULL, NULL);
    return fails(outage, rc, err->text);
}

void ms_outage_cause(struct ms_outage *outage, char cause[MS_OUTAGE_CAUSE_BYTES]) {
    (void)pthread_mutex_lock(&lock);
    (void)snprintf(cause, MS_OUTAGE_CAUSE_BYTES, "%s", outage->lost ? outage->cause : "");
    (void)pthread_mutex_unlock(&lock);
}

bool ms_outage_may_end(int rc) {
    return ms_code_is_transient(rc) || rc == MS_EDENIED;
}

int64_t ms_outage_pause_ms(int failures) {
    return failures < 6 ? INT64_C(250) << failures : 10000;
}
