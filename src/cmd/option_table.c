/* The one table of options: every option of every subcommand stands here once. option.c reads it.
 * Static. */
#include "option_table.h"

#include <pthread.h>
#include <stddef.h>

#define FLAG MS_TYPE_FLAG
#define STRING MS_TYPE_STRING
#define CHOICE MS_TYPE_CHOICE
#define INT MS_TYPE_INT
#define REAL MS_TYPE_REAL
#define SECRET MS_TYPE_SECRET

/* An option of a job: see job_options.h. */
#define JOB(id) .job = &ms_job_option_table[MS_JOB_OPTION_##id]

static const struct ms_option_row table[MS_OPTION_COUNT] = {
    [MS_OPTION_MODEL] = {"model", 'n', STRING, "NAME", "MSAAS_MODEL", "htdemucs", 0, 0,
                         "Model to use: a name under the models' folder, or the path of its JSON "
                         "file or folder; of serve "
                         "and work also s3://BUCKET/KEY.json."},
    [MS_OPTION_MODELS_DIR] =
        {"models-dir", 0, STRING, "DIR", "MSAAS_MODELS_DIR", NULL, 0, 0,
         "Folder of the models; by default msaas/models in $XDG_DATA_HOME or ~/.local/share."},
    [MS_OPTION_OUT] = {"out", 'o', STRING, "DIR", NULL, "separated", 0, 0,
                       "Folder of the results: each goes to DIR/MODEL/FILENAME."},
    [MS_OPTION_FILENAME] =
        {"filename", 0, STRING, "TEMPLATE", NULL, "{track}/{stem}.{ext}", 0, 0,
         "Name of each result; knows {model}, {track}, {trackext}, {stem} and {ext}."},
    [MS_OPTION_RECURSIVE] = {"recursive", 'r', FLAG, NULL, NULL, NULL, 0, 0,
                             "Go through folders, and take the audio and video files in them."},
    [MS_OPTION_TWO_STEMS] = {JOB(TWO_STEMS)},
    [MS_OPTION_OTHER_METHOD] =
        {"other-method", 0, CHOICE, "add|minus|none", NULL, "add", 0, 0,
         "The rest of --two-stems: the other stems added (\"no_STEM\"), the mix minus the stem "
         "(\"minus_STEM\"), or not written."},
    [MS_OPTION_STEMS] = {JOB(STEMS)},
    [MS_OPTION_SHIFTS] = {JOB(SHIFTS)},
    [MS_OPTION_SEED] = {JOB(SEED)},
    [MS_OPTION_OVERLAP] = {JOB(OVERLAP)},
    [MS_OPTION_SEGMENT] = {"segment", 0, REAL, "SECONDS", NULL, NULL, 0.1, 3600,
                           "Length of a segment; by default, and at most, the model's own."},
    [MS_OPTION_WAV] = {"wav", 0, FLAG, NULL, NULL, NULL, 0, 0,
                       "Write WAV, 16 bit (the default of separate)."},
    [MS_OPTION_MP3] = {"mp3", 0, FLAG, NULL, NULL, NULL, 0, 0,
                       "Write MP3 (the default of submit)."},
    [MS_OPTION_FLAC] = {"flac", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write FLAC, 16 bit."},
    [MS_OPTION_OPUS] = {"opus", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write Opus."},
    [MS_OPTION_M4A] = {"m4a", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write AAC in an M4A file."},
    [MS_OPTION_INT24] = {"int24", 0, FLAG, NULL, NULL, NULL, 0, 0,
                         "24 bit samples, for WAV and FLAC."},
    [MS_OPTION_FLOAT32] = {"float32", 0, FLAG, NULL, NULL, NULL, 0, 0,
                           "32 bit floating point samples, for WAV."},
    [MS_OPTION_MP3_BITRATE] = {"mp3-bitrate", 0, INT, "KBPS", NULL, "320", 32, 320,
                               "Bit rate of MP3."},
    [MS_OPTION_MP3_PRESET] = {"mp3-preset", 0, INT, "N", NULL, "7", 2, 7,
                              "Effort of the MP3 encoder, from 2 (slowest) to 7 (fastest)."},
    [MS_OPTION_BITRATE] = {"bitrate", 0, INT, "KBPS", NULL, NULL, 16, 510,
                           "Bit rate of Opus (by default 160) or M4A (256)."},
    [MS_OPTION_CLIP_MODE] = {JOB(CLIP)},
    [MS_OPTION_MODEL_OUT] = {"out", 'o', STRING, "DIR", NULL, NULL, 0, 0,
                             "Folder that the model is written to; by default the models' folder."},
    [MS_OPTION_MODEL_NAME] =
        {"name", 0, STRING, "NAME", NULL, NULL, 0, 0,
         "Name of the imported model; by default the published one or the file's."},
    [MS_OPTION_URL] =
        {"url", 0, STRING, "URL", NULL, NULL, 0, 0,
         "Fetch the weights from here, a mirror of your own; a folder, when it ends in /."},
    [MS_OPTION_SEGMENTS] = {"segments", 0, INT, "N", NULL, "8", 1, 10000,
                            "Segments to measure, up to whole batches."},
    [MS_OPTION_DATA] =
        {"data", 0, STRING, "DIR", "MSAAS_DATA", NULL, 0, 0,
         "Folder of queue and songs; by default msaas/data in $XDG_DATA_HOME or ~/.local/share."},
    [MS_OPTION_WORKERS] = {"workers", 0, INT, "N", "MSAAS_WORKERS", "1", 1, 64,
                           "Songs at work at the same time, each in a process of its own."},
    [MS_OPTION_QUEUE] =
        {"queue", 0, STRING, "URL",
         "MSAAS_QUEUE|REDIS_URL|redis://{REDIS_HOST}:{REDIS_PORT=6379}/0", NULL, 0, 0,
         "Where jobs wait: redis://HOST:PORT/DB, rediss://... or sqlite:PATH. With a password, "
         "redis://USER:PASSWORD@..., only in the environment."},
    [MS_OPTION_STORE] = {"store", 0, STRING, "URL", "MSAAS_STORE", NULL, 0, 0,
                         "Where songs and stems lie: s3://[PREFIX] or file:DIR; s3:// when there "
                         "is an --s3-endpoint."},
    [MS_OPTION_S3_ENDPOINT] =
        {"s3-endpoint", 0, STRING, "URL",
         "AWS_ENDPOINT_URL_S3|AWS_ENDPOINT_URL|http://{MINIO_HOST}", NULL, 0, 0,
         "The S3 server, http://HOST:PORT; by default Amazon's of the region."},
    [MS_OPTION_S3_REGION] = {"s3-region", 0, STRING, "NAME", "AWS_REGION|AWS_DEFAULT_REGION",
                             "us-east-1", 0, 0, "Its region."},
    [MS_OPTION_S3_ACCESS_KEY] = {"s3-access-key", 0, STRING, "ID", "AWS_ACCESS_KEY_ID|MINIO_USER",
                                 NULL, 0, 0, "Who asks: the access key's ID."},
    [MS_OPTION_S3_SECRET_KEY] =
        {"s3-secret-key-file", 0, SECRET, "FILE", "AWS_SECRET_ACCESS_KEY|MINIO_PASSWD", NULL, 0, 0,
         "File that holds its secret; the environment holds the secret itself."},
    [MS_OPTION_S3_SESSION_TOKEN] =
        {"s3-session-token-file", 0, SECRET, "FILE", "AWS_SESSION_TOKEN", NULL, 0, 0,
         "File that holds the session token that temporary keys come with."},
    [MS_OPTION_S3_VIRTUAL_HOST] = {"s3-virtual-host", 0, FLAG, NULL, "MSAAS_S3_VIRTUAL_HOST", NULL,
                                   0, 0, "Put the bucket into the host name instead of the path."},
    [MS_OPTION_S3_CA_FILE] = {"s3-ca-file", 0, STRING, "FILE", "AWS_CA_BUNDLE", NULL, 0, 0,
                              "Certificates to trust, PEM, for a server with a private one."},
    [MS_OPTION_NO_CREATE_BUCKETS] = {"no-create-buckets", 0, FLAG, NULL, "MSAAS_NO_CREATE_BUCKETS",
                                     NULL, 0, 0, "Buckets that are missing are an error."},
    [MS_OPTION_HOST] = {"host", 0, STRING, "ADDRESS", "MSAAS_HOST", NULL, 0, 0,
                        "Address to listen on; by default every one, of up only 127.0.0.1."},
    [MS_OPTION_PORT] = {"port", 'p', INT, "N", "MSAAS_PORT", "5000", 0, 65535,
                        "Port to listen on; 0: a free one."},
    [MS_OPTION_WORKER_PORT] = {"port", 'p', INT, "N", "MSAAS_WORKER_PORT", "5001", 0, 65535,
                               "Port of /healthz and /metrics; 0: none."},
    [MS_OPTION_OFFER] = {"models", 0, STRING, "A,B,...", "MSAAS_MODELS", NULL, 0, 0,
                         "Models on offer, the default one first; by default --model and all in "
                         "the models' folder."},
    [MS_OPTION_MAX_SONG_MB] = {"max-song-mb", 0, INT, "MB", "MSAAS_MAX_SONG_MB", "256", 1, 2000,
                               "Larger songs are refused."},
    [MS_OPTION_MAX_SONG_MINUTES] = {"max-song-minutes", 0, REAL, "MIN", "MSAAS_MAX_SONG_MINUTES",
                                    "120", 0.01, 100000,
                                    "Longer songs fail. The scratch folder needs 90 MB a minute."},
    [MS_OPTION_MAX_WAITING] = {"max-waiting", 0, INT, "N", "MSAAS_MAX_WAITING", "100000", 1, 1e9,
                               "With so many jobs waiting, new ones are refused."},
    [MS_OPTION_PRESIGN] =
        {"presign", 0, INT, "SECONDS", "MSAAS_PRESIGN", "0", 0, 604800,
         "Send clients to the S3 server for stems, by URLs that hold so long; 0: never."},
    [MS_OPTION_LINGER] =
        {"linger", 0, REAL, "SECONDS", "MSAAS_LINGER", "0", 0, 600,
         "Go on so long after SIGTERM, not ready, until load balancers look away."},
    [MS_OPTION_LEASE] = {"lease", 0, REAL, "SECONDS", "MSAAS_LEASE", "30", 0.1, 3600,
                         "A worker that is silent for so long loses its job to another."},
    [MS_OPTION_STALL] = {"stall", 0, REAL, "SECONDS", "MSAAS_STALL", "120", 1, 86400,
                         "A job that stands still for so long ends its worker, and is tried again "
                         "by the next; three times."},
    [MS_OPTION_GRACE] =
        {"grace", 0, REAL, "SECONDS", "MSAAS_GRACE", "20", 0, 3600,
         "Time to finish what is at work after SIGTERM; then a job goes back to the queue."},
    [MS_OPTION_SCRATCH] = {"scratch", 0, STRING, "DIR", "MSAAS_SCRATCH", NULL, 0, 0,
                           "Folder for the song at work; by default msaas in $TMPDIR or /tmp."},
    [MS_OPTION_CACHE] =
        {"cache", 0, STRING, "DIR", "MSAAS_CACHE", NULL, 0, 0,
         "Folder of models from s3://; by default msaas in $XDG_CACHE_HOME or ~/.cache."},
    [MS_OPTION_WEBHOOK_SECRET] = {"webhook-secret-file", 0, SECRET, "FILE", "MSAAS_WEBHOOK_SECRET",
                                  NULL, 0, 0,
                                  "File that holds the secret that callbacks are signed with."},
    [MS_OPTION_CALLBACK_ALLOW] = {"callback-allow", 0, STRING, "CIDR,...", "MSAAS_CALLBACK_ALLOW",
                                  NULL, 0, 0,
                                  "Private networks that callbacks of /apiv2 may reach."},
    [MS_OPTION_LOG_FORMAT] = {"log-format", 0, CHOICE, "plain|json", "MSAAS_LOG_FORMAT", "plain", 0,
                              0, "Form of log lines."},
    [MS_OPTION_LOG_LEVEL] = {"log-level", 0, CHOICE, "debug|info|warn|error", "MSAAS_LOG_LEVEL",
                             "info", 0, 0, "The least that is logged."},
    [MS_OPTION_SERVER] = {"server", 's', STRING, "URL", "MSAAS_SERVER", "http://localhost:5000", 0,
                          0, "The server to talk to."},
    [MS_OPTION_WAIT] = {"wait", 'w', FLAG, NULL, NULL, NULL, 0, 0, "Wait until the job has ended."},
    [MS_OPTION_JOB_MODEL] = {.letter = 'n', JOB(MODEL)},
    [MS_OPTION_JOB_BITRATE] = {JOB(BITRATE)},
    [MS_OPTION_JOB_PRECISION] = {JOB(PRECISION)},
    [MS_OPTION_FETCH_OUT] = {"out", 'o', STRING, "DIR", NULL, NULL, 0, 0,
                             "Folder of the stems; by default separated/ID."},
    [MS_OPTION_LANES] =
        {"lanes", 0, INT, "N", "MSAAS_LANES", "0", 0, 256,
         "Segments at work at the same time; 0: as many as processors and memory allow."},
    [MS_OPTION_BATCH] = {"batch", 0, INT, "N", "MSAAS_BATCH", "1", 1, 64,
                         "Segments that a lane runs in one forward pass: for GPUs. On the CPU 1 is "
                         "best: more takes as long, and memory for each."},
    [MS_OPTION_DEVICE] = {"device", 'd', STRING, "cpu|cuda[:N]", "MSAAS_DEVICE", "cpu", 0, 0,
                          "Where the network runs."},
    [MS_OPTION_PRECISION] = {"precision", 0, CHOICE, "auto|float32|bf16", "MSAAS_PRECISION",
                             "float32", 0, 0,
                             "What the network computes in; auto: the fastest that keeps the "
                             "quality, at present float32."},
    [MS_OPTION_WORK_PRECISION] = {"precision", 0, CHOICE, "auto|float32|bf16", "MSAAS_PRECISION",
                                  "auto", 0, 0,
                                  "What the network computes in for jobs that do not say; auto: "
                                  "the fastest that keeps the quality, at present float32."},
    [MS_OPTION_JSON] = {"json", 0, FLAG, NULL, NULL, NULL, 0, 0,
                        "Report on standard output as JSON, one object a line."},
    [MS_OPTION_QUIET] = {"quiet", 'q', FLAG, NULL, NULL, NULL, 0, 0, "Report errors only."},
    [MS_OPTION_VERBOSE] = {"verbose", 'v', FLAG, NULL, NULL, NULL, 0, 0, "Report details too."},
    [MS_OPTION_HELP] = {"help", 'h', FLAG, NULL, NULL, NULL, 0, 0, "Show this help."},
};

static struct ms_option_row rows[MS_OPTION_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_rows(void) {
    static const enum ms_option_type types[] = {
        [MS_JOB_TYPE_NAME] = STRING, [MS_JOB_TYPE_NAMES] = STRING, [MS_JOB_TYPE_CHOICE] = CHOICE,
        [MS_JOB_TYPE_ENUM] = CHOICE, [MS_JOB_TYPE_INTEGER] = INT,  [MS_JOB_TYPE_REAL] = REAL,
    };
    for (int id = 0; id < MS_OPTION_COUNT; id++) {
        struct ms_option_row *row = &rows[id];
        *row = table[id];
        if (row->job == NULL)
            continue;
        row->name = row->job->flag;
        row->type = types[row->job->type];
        row->value = row->job->value;
        row->fallback = row->job->standard;
        row->min = row->job->least;
        row->max = row->job->most;
        row->help = row->job->text;
    }
}

const struct ms_option_row *ms_option_row(int id) {
    (void)pthread_once(&once, fill_rows);
    return &rows[id];
}
