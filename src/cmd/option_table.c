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
#define TIME MS_TYPE_TIME
#define SECRET MS_TYPE_SECRET

/* An option of a job: see job_options.h. The other rows leave `job` out. */
#define JOB(id) (&ms_job_option_table[MS_JOB_OPTION_##id])
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const struct ms_option_row table[MS_OPTION_COUNT] = {
    [MS_OPTION_MODEL] =
        {"model", 'n', STRING, "NAME", "MSAAS_MODEL", "htdemucs", 0, 0,
         "Model to use: a name in the models' folder, or the path of its JSON file or "
         "folder; for serve and work also s3://BUCKET/KEY.json."},
    [MS_OPTION_MODELS_DIR] =
        {"models-dir", 0, STRING, "DIR", "MSAAS_MODELS_DIR", NULL, 0, 0,
         "Folder of the models; by default msaas/models in $XDG_DATA_HOME or ~/.local/share."},
    [MS_OPTION_OUT] = {"out", 'o', STRING, "DIR", NULL, "separated", 0, 0,
                       "Folder of the results: each goes to DIR/MODEL/FILENAME. -: standard "
                       "output, for one stem of one song, or its --zip."},
    [MS_OPTION_FILENAME] =
        {"filename", 0, STRING, "TEMPLATE", NULL, "{track}/{stem}.{ext}", 0, 0,
         "Name of each result, made of {model}, {track}, {trackext}, {stem} and {ext}."},
    [MS_OPTION_ZIP] = {"zip", 0, FLAG, NULL, NULL, NULL, 0, 0,
                       "Write the stems of a song as one zip; FILENAME is then {track}.{ext}, "
                       "unless it is given."},
    [MS_OPTION_RECURSIVE] = {"recursive", 'r', FLAG, NULL, NULL, NULL, 0, 0,
                             "Separate the audio and video files in folders, too."},
    [MS_OPTION_TWO_STEMS] = {.job = JOB(TWO_STEMS)},
    [MS_OPTION_OTHER_METHOD] =
        {"other-method", 0, CHOICE, "add|minus|none", NULL, "add", 0, 0,
         "The rest of --two-stems: the sum of the other stems (\"no_STEM\"), the mix minus the "
         "stem (\"minus_STEM\"), or none."},
    [MS_OPTION_STEMS] = {.job = JOB(STEMS)},
    [MS_OPTION_SHIFTS] = {.job = JOB(SHIFTS)},
    [MS_OPTION_SEED] = {.job = JOB(SEED)},
    [MS_OPTION_OVERLAP] = {.job = JOB(OVERLAP)},
    [MS_OPTION_SEGMENT] = {"segment", 0, REAL, "SECONDS", NULL, NULL, 0.1, 3600,
                           "Length of a segment; by default, and at most, the model's own."},
    [MS_OPTION_NO_SPLIT] =
        {"no-split", 0, FLAG, NULL, NULL, NULL, 0, 0,
         "Separate a song in one piece. Songs longer than a segment, 7.8 s for htdemucs, are "
         "refused: the network takes no longer ones."},
    [MS_OPTION_WAV] = {"wav", 0, FLAG, NULL, NULL, NULL, 0, 0,
                       "Write 16-bit WAV (the default of separate)."},
    [MS_OPTION_MP3] = {"mp3", 0, FLAG, NULL, NULL, NULL, 0, 0,
                       "Write MP3 (the default of submit)."},
    [MS_OPTION_FLAC] = {"flac", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write 16-bit FLAC."},
    [MS_OPTION_OPUS] = {"opus", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write Opus."},
    [MS_OPTION_M4A] = {"m4a", 0, FLAG, NULL, NULL, NULL, 0, 0, "Write AAC in an M4A file."},
    [MS_OPTION_INT24] = {"int24", 0, FLAG, NULL, NULL, NULL, 0, 0,
                         "24-bit samples, for WAV and FLAC."},
    [MS_OPTION_FLOAT32] = {"float32", 0, FLAG, NULL, NULL, NULL, 0, 0,
                           "32-bit floating-point samples, for WAV."},
    [MS_OPTION_MP3_BITRATE] = {"mp3-bitrate", 0, INT, "KBPS", NULL, "320", 32, 320,
                               "Bit rate of MP3."},
    [MS_OPTION_MP3_PRESET] = {"mp3-preset", 0, INT, "N", NULL, "7", 2, 7,
                              "Effort of the MP3 encoder, from 2 (slowest) to 7 (fastest)."},
    [MS_OPTION_BITRATE] = {.job = JOB(BITRATE)},
    [MS_OPTION_CLIP_MODE] = {.job = JOB(CLIP)},
    [MS_OPTION_MODEL_OUT] = {"out", 'o', STRING, "DIR", NULL, NULL, 0, 0,
                             "Folder that the model is written to; by default the models' folder."},
    [MS_OPTION_MODEL_NAME] =
        {"name", 0, STRING, "NAME", NULL, NULL, 0, 0,
         "Name of the imported model; by default the published one or the file's."},
    [MS_OPTION_URL] = {"url", 0, STRING, "URL", NULL, NULL, 0, 0,
                       "Download the weights from this address, such as a mirror of your own. One "
                       "that ends in / is a folder."},
    [MS_OPTION_VIA_STORE] = {"via-store", 0, FLAG, NULL, NULL, NULL, 0, 0,
                             "Have a published model from the store; where it is not there, "
                             "download it and put it there for the others."},
    [MS_OPTION_SEGMENTS] = {"segments", 0, INT, "N", NULL, "8", 1, 10000,
                            "Segments to measure, rounded up to whole batches."},
    [MS_OPTION_DATA] =
        {"data", 0, STRING, "DIR", "MSAAS_DATA", NULL, 0, 0,
         "Folder for queue and songs; by default msaas/data in $XDG_DATA_HOME or ~/.local/share."},
    [MS_OPTION_WORKERS] = {"workers", 0, INT, "N", "MSAAS_WORKERS", "1", 1, 64,
                           "Songs separated at the same time, each by its own process."},
    [MS_OPTION_QUEUE] =
        {"queue", 0, STRING, "URL",
         "MSAAS_QUEUE|REDIS_URL|redis://{REDIS_HOST}:{REDIS_PORT=6379}/0", NULL, 0, 0,
         "Where jobs wait: redis://HOST:PORT/DB, rediss://... or sqlite:PATH. A URL with a "
         "password, redis://USER:PASSWORD@..., is taken from the environment only."},
    [MS_OPTION_STORE] = {"store", 0, STRING, "URL", "MSAAS_STORE", NULL, 0, 0,
                         "Where songs and stems are kept: s3://[PREFIX] or file:DIR; by default "
                         "s3:// if there is an --s3-endpoint."},
    [MS_OPTION_S3_ENDPOINT] =
        {"s3-endpoint", 0, STRING, "URL",
         "AWS_ENDPOINT_URL_S3|AWS_ENDPOINT_URL|http://{MINIO_HOST}|http://{MINIO_ENDPOINT}", NULL,
         0, 0, "The S3 server, http://HOST:PORT; by default Amazon's of the region."},
    [MS_OPTION_S3_REGION] = {"s3-region", 0, STRING, "NAME", "AWS_REGION|AWS_DEFAULT_REGION",
                             "us-east-1", 0, 0, "Region of the S3 server."},
    [MS_OPTION_S3_ACCESS_KEY] = {"s3-access-key", 0, STRING, "ID",
                                 "AWS_ACCESS_KEY_ID|MINIO_USER|MINIO_ACCESS_KEY", NULL, 0, 0,
                                 "ID of the access key."},
    [MS_OPTION_S3_SECRET_KEY] =
        {"s3-secret-key-file", 0, SECRET, "FILE",
         "AWS_SECRET_ACCESS_KEY|MINIO_PASSWD|MINIO_SECRET_KEY", NULL, 0, 0,
         "File with the secret of the access key; the variable holds the secret itself."},
    [MS_OPTION_S3_SESSION_TOKEN] =
        {"s3-session-token-file", 0, SECRET, "FILE", "AWS_SESSION_TOKEN", NULL, 0, 0,
         "File with the session token of temporary keys; the variable holds the token itself."},
    [MS_OPTION_S3_VIRTUAL_HOST] =
        {"s3-virtual-host", 0, FLAG, NULL, "MSAAS_S3_VIRTUAL_HOST", NULL, 0, 0,
         "Put the bucket into the host name of URLs instead of the path."},
    [MS_OPTION_S3_CA_FILE] =
        {"s3-ca-file", 0, STRING, "FILE", "AWS_CA_BUNDLE", NULL, 0, 0,
         "Certificates to trust (PEM), for a server with a private certificate."},
    [MS_OPTION_NO_CREATE_BUCKETS] = {"no-create-buckets", 0, FLAG, NULL, "MSAAS_NO_CREATE_BUCKETS",
                                     NULL, 0, 0,
                                     "Treat a missing bucket as an error instead of creating it."},
    [MS_OPTION_HOST] = {"host", 0, STRING, "ADDRESS", "MSAAS_HOST", NULL, 0, 0,
                        "Address to listen on; by default all, for up only 127.0.0.1."},
    [MS_OPTION_PORT] = {"port", 'p', INT, "N", "MSAAS_PORT", "5000", 0, 65535,
                        "Port to listen on; 0: any free one."},
    [MS_OPTION_WORKER_PORT] = {"port", 'p', INT, "N", "MSAAS_WORKER_PORT", "5001", 0, 65535,
                               "Port of /healthz and /metrics; 0: none."},
    [MS_OPTION_ADMIN_PORT] =
        {"admin-port", 0, INT, "N", "MSAAS_ADMIN_PORT", "0", 0, 65535,
         "Serve /healthz, /readyz and /metrics on this port, too, however busy the other is; 0: "
         "do not."},
    [MS_OPTION_ALLOWED_HOSTS] =
        {"allowed-hosts", 0, STRING, "NAME,...", "MSAAS_ALLOWED_HOSTS", NULL, 0, 0,
         "Names that Host may have besides localhost; *: any. On an address of loopback others are "
         "refused in any case, elsewhere only if this is given."},
    [MS_OPTION_CORS_ORIGINS] =
        {"cors-origins", 0, STRING, "URL,...", "MSAAS_CORS_ORIGINS", NULL, 0, 0,
         "Other origins whose pages browsers let use the API, without cookies, "
         "https://HOST[:PORT]; *: any."},
    [MS_OPTION_TRUSTED_PROXIES] =
        {"trusted-proxies", 0, STRING, "CIDR,...", "MSAAS_TRUSTED_PROXIES", NULL, 0, 0,
         "Reverse proxies whose Forwarded and X-Forwarded-For, -Host and -Proto are believed."},
    [MS_OPTION_TOKENS] =
        {"tokens", 0, STRING, "FILE", "MSAAS_TOKENS", NULL, 0, 0,
         "File of the tokens that may ask, made by \"msaas token\"; it is read again when it "
         "changes. Without it everybody may everything."},
    [MS_OPTION_APIV1] =
        {"apiv1", 0, CHOICE, "token|open|off", "MSAAS_APIV1", "token", 0, 0,
         "Who may use /apiv1 where there are --tokens: who has a token, everybody, or nobody; off "
         "shuts it without --tokens, too."},
    [MS_OPTION_MAX_CONNECTIONS] =
        {"max-connections", 0, INT, "N", "MSAAS_MAX_CONNECTIONS", "4096", 1, 1000000,
         "Connections at the same time. A new one takes the place of one on which nothing is "
         "asked, else it is refused."},
    [MS_OPTION_MAX_CLIENT_CONNECTIONS] =
        {"max-client-connections", 0, INT, "N", "MSAAS_MAX_CLIENT_CONNECTIONS", "1024", 1, 1000000,
         "The same for each address, a /64 of IPv6 being one; behind --trusted-proxies: requests "
         "at the same time."},
    [MS_OPTION_MIN_RATE] =
        {"min-rate", 0, INT, "BYTES", "MSAAS_MIN_RATE", "1024", 0, 1000000000,
         "Close a connection whose client sends or takes fewer bytes a second than this, over "
         "20 s; 0: do not."},
    [MS_OPTION_OFFER] = {"models", 0, STRING, "A,B,...", "MSAAS_MODELS", NULL, 0, 0,
                         "Models on offer, the default first; by default --model and those in the "
                         "models' folder."},
    [MS_OPTION_MAX_SONG_MB] = {"max-song-mb", 0, INT, "MB", "MSAAS_MAX_SONG_MB", "256", 1, 8000,
                               "Refuse songs larger than this."},
    [MS_OPTION_MAX_SONG_MINUTES] = {"max-song-minutes", 0, REAL, "MIN", "MSAAS_MAX_SONG_MINUTES",
                                    "120", 0.01, 100000,
                                    "Fail songs longer than this. The scratch folder needs the "
                                    "song's size, and 21 MB a minute for each stem (WAV: 32 "
                                    "MB)."},
    [MS_OPTION_PREVIEW] = {"preview", 0, INT, "SECONDS", "MSAAS_PREVIEW", "60", 0, 600,
                           "Let so much of every stem's beginning be heard while its job is at "
                           "work, in pieces of 5 s; 0: nothing."},
    [MS_OPTION_MAX_COST] =
        {"max-cost", 0, REAL, "MIN", "MSAAS_MAX_COST", "600", 0, 1e9,
         "Refuse jobs that cost more: minutes of the song x shifts x networks of "
         "the model / (1 - overlap); 0: accept any."},
    [MS_OPTION_MAX_WAITING] = {"max-waiting", 0, INT, "N", "MSAAS_MAX_WAITING", "100000", 1, 1e9,
                               "Refuse new jobs while this many wait."},
    [MS_OPTION_MAX_RENDERS] =
        {"max-renders", 0, INT, "N", "MSAAS_MAX_RENDERS", "0", 0, 1024,
         "Mixes and stems of other formats that are made at the same time; more are refused. 0: as "
         "many as there are processors."},
    [MS_OPTION_MIN_FREE_MB] =
        {"min-free-mb", 0, INT, "MB", "MSAAS_MIN_FREE_MB", "256", 0, 1e9,
         "/readyz is 503 while the disk of the queue's file, the store's folder or --scratch has "
         "less free space than this."},
    [MS_OPTION_COURSE_ITEMS] =
        {"course-items", 0, CHOICE, "plain|json", "MSAAS_COURSE_ITEMS", "plain", 0, 0,
         "What Redis' list toWorker holds: ids, or JSON that the course's own workers read; then "
         "songs are stored as HASH and as HASH.mp3."},
    [MS_OPTION_UPLOAD_KEEP] = {"upload-keep", 0, REAL, "HOURS", "MSAAS_UPLOAD_KEEP", "24", 0.0003,
                               8760, "Remove uploads so long after they began."},
    [MS_OPTION_PRESIGN] =
        {"presign", 0, INT, "SECONDS", "MSAAS_PRESIGN", "0", 0, 604800,
         "Redirect downloads of stems to the S3 server, by URLs valid for this long, and give such "
         "URLs to clients that ask for one for their upload; 0: do not."},
    [MS_OPTION_LINGER] =
        {"linger", 0, REAL, "SECONDS", "MSAAS_LINGER", "0", 0, 600,
         "After SIGTERM, serve for this long with /readyz at 503, so that load balancers notice."},
    [MS_OPTION_LEASE] = {"lease", 0, REAL, "SECONDS", "MSAAS_LEASE", "30", 0.1, 3600,
                         "A worker that does not report for this long loses its job to another."},
    [MS_OPTION_STALL] = {"stall", 0, REAL, "SECONDS", "MSAAS_STALL", "120", 1, 86400,
                         "If a job makes no progress for this long, its worker exits and another "
                         "one tries the job again."},
    [MS_OPTION_MODEL_WAIT] = {"model-wait", 0, REAL, "MIN", "MSAAS_MODEL_WAIT", "10", 0.01, 100000,
                              "Fail jobs for whose model there has been no worker for this long."},
    [MS_OPTION_GIVE_UP] = {"give-up", 0, REAL, "MIN", "MSAAS_GIVE_UP", "60", 0, 100000,
                           "End a worker whose disk, memory, device, model or store has failed for "
                           "this long in all, with no job finished meanwhile."},
    [MS_OPTION_KEEP] = {"keep", 0, TIME, "TIME", "MSAAS_KEEP", NULL, 1, 3650 * 86400.0,
                        "Remove jobs with their songs and stems so long after they ended: 72h, "
                        "30m, 7d; by default they stay until a client erases them."},
    [MS_OPTION_GRACE] = {"grace", 0, REAL, "SECONDS", "MSAAS_GRACE", "20", 0, 3600,
                         "Time to finish after SIGTERM; then a job goes back to the queue."},
    [MS_OPTION_SCRATCH] =
        {"scratch", 0, STRING, "DIR", "MSAAS_SCRATCH", NULL, 0, 0,
         "Folder for temporary files: the current job's, uploads as they come; by default msaas in "
         "$TMPDIR or /tmp."},
    [MS_OPTION_CACHE] =
        {"cache", 0, STRING, "DIR", "MSAAS_CACHE", NULL, 0, 0,
         "Folder for models downloaded from s3://; by default msaas in $XDG_CACHE_HOME or "
         "~/.cache."},
    [MS_OPTION_WEBHOOK_SECRET] =
        {"webhook-secret-file", 0, SECRET, "FILE", "MSAAS_WEBHOOK_SECRET", NULL, 0, 0,
         "File with the secret that signs callbacks; the variable holds the secret itself."},
    [MS_OPTION_CALLBACK_ALLOW] = {"callback-allow", 0, STRING, "HOST|CIDR,...",
                                  "MSAAS_CALLBACK_ALLOW", NULL, 0, 0,
                                  "Hosts and networks that callbacks may reach, though they are "
                                  "not public."},
    [MS_OPTION_LOG_FORMAT] = {"log-format", 0, CHOICE, "plain|json", "MSAAS_LOG_FORMAT", "plain", 0,
                              0, "Format of log lines."},
    [MS_OPTION_LOG_LEVEL] = {"log-level", 0, CHOICE, "debug|info|warn|error", "MSAAS_LOG_LEVEL",
                             "info", 0, 0, "Least severe level that is logged."},
    [MS_OPTION_SERVER] = {"server", 's', STRING, "URL", "MSAAS_SERVER", "http://localhost:5000", 0,
                          0, "Server to use."},
    [MS_OPTION_TOKEN] =
        {"token-file", 0, SECRET, "FILE", "MSAAS_TOKEN", NULL, 0, 0,
         "File with the token for the server; the variable holds the token itself."},
    [MS_OPTION_SCOPES] =
        {"scopes", 0, STRING, "LIST", NULL, "submit,read", 0, 0,
         "What the new token may: submit (send songs, erase its jobs), read (see its jobs and "
         "stems), admin (everything, of everybody)."},
    [MS_OPTION_EXPIRES] = {"expires", 0, REAL, "DAYS", NULL, "0", 0, 36500,
                           "Time after which the new token ends by itself; 0: never."},
    [MS_OPTION_TOKEN_WAITING] = {"max-waiting", 0, INT, "N", NULL, "0", 0, 1000000000,
                                 "Jobs of the new token that may wait; 0: any number."},
    [MS_OPTION_TOKEN_MINUTES] =
        {"max-minutes-a-day", 0, REAL, "MIN", NULL, "0", 0, 1e9,
         "Cost of the jobs that the new token may send in a day: minutes of music; 0: any."},
    [MS_OPTION_TOKEN_MB] = {"max-mb-a-day", 0, INT, "MB", NULL, "0", 0, 1000000000,
                            "Songs that the new token may send in a day; 0: any size."},
    [MS_OPTION_WAIT] = {"wait", 'w', FLAG, NULL, NULL, NULL, 0, 0, "Wait until the job has ended."},
    [MS_OPTION_JOB_MODEL] = {.letter = 'n', .job = JOB(MODEL)},
    [MS_OPTION_JOB_PRECISION] = {.job = JOB(PRECISION)},
    [MS_OPTION_FETCH_OUT] = {"out", 'o', STRING, "DIR", NULL, NULL, 0, 0,
                             "Folder of the stems, or of the archive; by default separated/SONG, "
                             "or separated; - for standard output, with --zip or --stem-mp4."},
    [MS_OPTION_MIX_FORMAT] = {"format", 0, CHOICE, "mp3|wav|flac|opus|m4a", NULL, "mp3", 0, 0,
                              "Format of the mix."},
    [MS_OPTION_FETCH_ZIP] = {"zip", 0, FLAG, NULL, NULL, NULL, 0, 0,
                             "Fetch all stems as one archive, SONG.zip."},
    [MS_OPTION_STEM_MP4] = {"stem-mp4", 0, FLAG, NULL, NULL, NULL, 0, 0,
                            "Fetch all as one stem file for DJ programs (NI Stems), "
                            "SONG.stem.mp4."},
    [MS_OPTION_MIX_OUT] = {"out", 'o', STRING, "FILE", NULL, NULL, 0, 0,
                           "File of the mix, - for standard output; by default "
                           "separated/SONG/mix.EXT."},
    [MS_OPTION_GAINS] = {"gains", 'g', STRING, "STEM:DB,...", NULL, NULL, 0, 0,
                         "Gain of each stem in dB, from -120 to 24; -inf mutes. Stems that are not "
                         "named stay as they are."},
    [MS_OPTION_PAN] = {"pan", 0, STRING, "STEM:PAN,...", NULL, NULL, 0, 0,
                       "Place of each stem, from -1 (left) to 1 (right)."},
    [MS_OPTION_LANES] =
        {"lanes", 'j', INT, "N", "MSAAS_LANES", "0", 0, 256,
         "Segments computed at the same time; 0: as many as processors and memory allow."},
    [MS_OPTION_BATCH] =
        {"batch", 0, INT, "N", "MSAAS_BATCH", "1", 1, 64,
         "Segments per forward pass of a lane, for GPUs. On the CPU 1 is best: more are "
         "no faster and take more memory."},
    [MS_OPTION_DEVICE] = {"device", 'd', STRING, "cpu|cuda[:N]", "MSAAS_DEVICE", "cpu", 0, 0,
                          "Where the network runs."},
    [MS_OPTION_PRECISION] =
        {"precision", 0, CHOICE, "auto|float32|bf16", "MSAAS_PRECISION", "float32", 0, 0,
         "Number format that the network computes in; auto: bf16 where the processor has "
         "instructions for it, else float32."},
    [MS_OPTION_WORK_PRECISION] =
        {"precision", 0, CHOICE, "auto|float32|bf16", "MSAAS_PRECISION", "auto", 0, 0,
         "Number format that the network computes in for jobs that choose none; "
         "auto: bf16 where the processor has instructions for it, else float32."},
    [MS_OPTION_LIST_MODELS] = {"list-models", 0, FLAG, NULL, NULL, NULL, 0, 0,
                               "List the models, as \"msaas model list\" does, and stop."},
    [MS_OPTION_JSON] = {"json", 0, FLAG, NULL, NULL, NULL, 0, 0,
                        "Report on standard output as JSON, one object per line."},
    [MS_OPTION_QUIET] = {"quiet", 'q', FLAG, NULL, NULL, NULL, 0, 0, "Report only errors."},
    [MS_OPTION_VERBOSE] = {"verbose", 'v', FLAG, NULL, NULL, NULL, 0, 0, "Report details, too."},
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
