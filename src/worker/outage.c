/* Joins what the worker's threads find when they call queue and store: two log lines for each
 * outage. */
#include "outage.h"

#include "msaas/log.h"
#include "msaas/sys.h"

#define DAMAGED_MS 15000 /* longer than any pause between attempts */

static int64_t now_ms(void) {
    return (int64_t)(ms_monotonic_s() * 1000);
}

bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err) {
    switch (rc) {
    case MS_OK:
    case MS_ENOTFOUND:
    case MS_ECONFLICT:
    case MS_ETOOLARGE:
        if (atomic_load(&outage->lost) && now_ms() >= atomic_load(&outage->back_ms) &&
            atomic_exchange(&outage->lost, false))
            ms_log(MS_LOG_INFO, "%s is back", outage->what);
        return false;
    case MS_ECANCELED: return false; /* says nothing about the server */
    default: break;
    }
    ms_metric_add(outage->errors, 1, NULL, NULL);
    /* A damaged file fails in some calls and works in others. It is back when none has failed for a
     * while. */
    if (rc == MS_EIO || rc == MS_ECORRUPT)
        atomic_store(&outage->back_ms, now_ms() + DAMAGED_MS);
    if (!atomic_exchange(&outage->lost, true))
        ms_log(MS_LOG_WARN, "%s fails; trying again until it works: %s", outage->what, err->text);
    return true;
}

int64_t ms_outage_pause_ms(int failures) {
    return failures < 6 ? INT64_C(250) << failures : 10000;
}
