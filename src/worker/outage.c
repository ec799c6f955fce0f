/* What the worker's threads found when they spoke to queue and store, put together to two log lines an outage. */
#include "outage.h"

#include "msaas/log.h"

bool ms_outage_note(struct ms_outage *outage, int rc, const struct ms_error *err) {
    switch (rc) {
    case MS_OK:
    case MS_ENOTFOUND:
    case MS_ECONFLICT:
    case MS_ETOOLARGE:
        if (atomic_exchange(&outage->lost, false))
            ms_log(MS_LOG_INFO, "%s is back", outage->what);
        return false;
    case MS_ECANCELED: return false; /* an answer of the queue's, but the store's: of nobody */
    default: break;
    }
    ms_metric_add(outage->errors, 1, NULL, NULL);
    if (!atomic_exchange(&outage->lost, true))
        ms_log(MS_LOG_WARN, "%s fails, trying again until it works: %s", outage->what, err->text);
    return true;
}

int64_t ms_outage_pause_ms(int failures) {
    return failures < 6 ? INT64_C(250) << failures : 10000;
}
