/* The metrics that serve, work and up show. A metric is declared where it is counted; what is not
 * listed here is not shown. */
#include "metrics_list.h"

#include "msaas/account.h"
#include "msaas/api.h"
#include "msaas/http_server.h"
#include "msaas/queue.h"
#include "msaas/store.h"
#include "msaas/worker.h"

struct ms_metric *const ms_cmd_metrics[] = {
    &ms_api_requests,
    &ms_api_request_seconds,
    &ms_http_connections,
    &ms_http_refused,
    &ms_accounts_checks,
    &ms_api_jobs,
    &ms_api_queue_depth,
    &ms_api_jobs_waiting,
    &ms_api_jobs_unfinished,
    &ms_api_oldest_waiting_seconds,
    &ms_api_callbacks_due,
    &ms_api_disk_free,
    &ms_worker_finished,
    &ms_worker_in_flight,
    &ms_worker_unwell,
    &ms_worker_audio_seconds,
    &ms_worker_work_seconds,
    &ms_worker_speed,
    &ms_worker_retries,
    &ms_worker_reaped,
    &ms_worker_junk,
    &ms_queue_errors,
    &ms_store_errors,
    &ms_worker_callbacks,
    NULL,
};
