/* See disks.h. On the threads of the pool. */
#include "disks.h"

#include "msaas/log.h"
#include "msaas/metrics.h"
#include "msaas/sys.h"

struct ms_metric ms_api_disk_free = {
    .name = "msaas_disk_free_bytes",
    .help = "Free space of the disk that holds the queue, the store or the scratch folder.",
    .kind = MS_METRIC_GAUGE,
    .labels = {"holds"},
};

#define MB 1e6

static bool has_space(const struct ms_api *api, const struct ms_api_disk *disk,
                      struct ms_problem *problem) {
    struct ms_error err = {0};
    int64_t bytes;
    if (ms_disk_free(disk->path, &bytes, &err) != 0)
        return ms_problem_set(problem, 503, "disk_full", "%.390s", err.text);
    ms_metric_set(&ms_api_disk_free, (double)bytes, disk->holds);
    return bytes >= api->options.min_free_bytes ||
           ms_problem_set(problem, 503, "disk_full",
                          "the disk of %.300s has %.0f MB free and needs %.0f: free some space",
                          disk->path, (double)bytes / MB, (double)api->options.min_free_bytes / MB);
}

bool ms_api_has_space(struct ms_api *api, struct ms_problem *problem) {
    struct ms_problem one;
    bool all = true;
    for (int i = 0; i < MS_API_DISKS; i++) {
        const struct ms_api_disk *disk = &api->options.disks[i];
        if (disk->path == NULL || has_space(api, disk, &one))
            continue;
        if (all)
            *problem = one;
        all = false;
    }
    if (!all && !atomic_exchange(&api->full, true))
        ms_log(MS_LOG_WARN, "not ready: %s", problem->text);
    if (all && atomic_exchange(&api->full, false))
        ms_log(MS_LOG_INFO, "there is enough free space again");
    return all;
}
