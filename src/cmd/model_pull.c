/* From a published model's name to the model in the models' folder: out of the store or from its
 * publisher. Main thread. */
#include "model_pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "msaas/cmd.h"
#include "msaas/http_client.h"
#include "msaas/model_import.h"
#include "msaas/model_store.h"
#include "msaas/sys.h"
#include "service.h"

/* Of a file whose size the manifest does not state. The largest known has 174 MB. */
#define MAX_DOWNLOAD_BYTES (INT64_C(256) << 20)

struct pull {
    const struct ms_options *options;
    const char *folder; /* of the models */
    bool quiet;
};

/* ---- from the publisher ---- */

struct bar {
    const char *file;
    double start_s, shown_s;
    int64_t first_bytes; /* bytes of an earlier run; -1: not known yet */
};

static void show_progress(void *context, int64_t received, int64_t total) {
    struct bar *bar = context;
    const double now_s = ms_monotonic_s();
    if (bar->first_bytes < 0)
        bar->first_bytes = received;
    if (now_s - bar->shown_s < 0.2 && received != total)
        return;
    bar->shown_s = now_s;
    double rate = (double)(received - bar->first_bytes) / (now_s - bar->start_s + 0.001) / 1e6;
    if (total > 0)
        fprintf(stderr, "\r%s: %3d %% of %.1f MB, %.1f MB/s  ", bar->file,
                (int)(100 * received / total), (double)total / 1e6, rate);
    else
        fprintf(stderr, "\r%s: %.1f MB, %.1f MB/s  ", bar->file, (double)received / 1e6, rate);
}

/* The published form to download: one with an address, or any form where a mirror is given. */
static const struct ms_manifest_source *fetchable(const struct ms_manifest_network *network) {
    for (int i = 0; i < network->source_count; i++)
        if (network->sources[i].url[0] != '\0')
            return &network->sources[i];
    return &network->sources[0];
}

static char *choose_url(const struct pull *pull, const struct ms_manifest *manifest,
                        const struct ms_manifest_source *source, struct ms_error *err) {
    const char *mirror = ms_options_string(pull->options, MS_OPTION_URL);
    const bool is_folder = mirror != NULL && mirror[strlen(mirror) - 1] == '/';
    if (mirror != NULL && !is_folder && manifest->info.member_count > 1) {
        (void)ms_error_set(
            err, MS_EUSAGE,
            "--url: model %s has several files; give the URL of their folder, ending in /",
            manifest->info.name);
        return NULL;
    }
    if (mirror == NULL && source->url[0] == '\0') {
        (void)ms_error_set(err, MS_EUSAGE,
                           "model %s has no public download; give --url or the file", source->file);
        return NULL;
    }
    char *url =
        ms_strdupf("%s%s", mirror != NULL ? mirror : source->url, is_folder ? source->file : "");
    if (url == NULL)
        (void)ms_error_set(err, MS_ENOMEM, "no memory for a path");
    return url;
}

/* Downloads the file of one network to `path` and checks it. A download resumed from an earlier run
 * may mix two versions: if it is not right, it starts again from the beginning, once. What is not
 * the file is not kept. */
static int fetch(const struct pull *pull, const struct ms_manifest *manifest, int network,
                 struct ms_http_client *client, const char *path, struct ms_error *err) {
    const struct ms_manifest_source *source = fetchable(&manifest->networks[network]);
    const bool show = !pull->quiet && isatty(STDERR_FILENO);
    struct bar bar = {.file = source->file, .start_s = ms_monotonic_s(), .first_bytes = -1};
    char *url = choose_url(pull, manifest, source, err);
    if (url == NULL)
        return err->code;
    struct stat part;
    bool resumed;
    int rc;
    for (bool again = false;; again = true) {
        rc = ms_http_download(
            client,
            &(struct ms_http_download){
                .url = url,
                .path = path,
                .max_bytes = source->bytes > 0 ? source->bytes : MAX_DOWNLOAD_BYTES,
                .progress = show ? show_progress : NULL,
                .context = &bar,
                .cancel = ms_cmd_interrupted(),
            },
            &resumed, err);
        if (show && bar.first_bytes >= 0)
            fputc('\n', stderr);
        if (rc == 0)
            rc = ms_manifest_check_source(manifest, network, path, err);
        else if (rc == MS_ENET && !pull->quiet && stat(path, &part) == 0 && part.st_size > 0)
            fputs("The part that was downloaded is kept; the same command resumes it.\n", stderr);
        if (rc != MS_ECORRUPT && rc != MS_ETOOLARGE)
            break;
        unlink(path);
        if (!resumed || again)
            break;
    }
    free(url);
    return rc;
}

static int fetch_all(const struct pull *pull, const struct ms_manifest *manifest, char **paths,
                     struct ms_error *err) {
    struct ms_http_client *client;
    int rc = ms_make_dirs(pull->folder, err);
    if (rc == 0)
        rc = ms_http_client_new(&client, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < manifest->info.member_count && rc == 0; i++) {
        paths[i] = ms_strdupf("%s/.download-%s.part", pull->folder,
                              fetchable(&manifest->networks[i])->file);
        rc = paths[i] != NULL ? fetch(pull, manifest, i, client, paths[i], err)
                              : ms_error_set(err, MS_ENOMEM, "no memory for a path");
    }
    ms_http_client_free(client);
    return rc;
}

static int pull_from_web(const struct pull *pull, const struct ms_manifest *manifest,
                         struct ms_model_info *info, struct ms_error *err) {
    char *files[MS_MODEL_MAX_MEMBERS] = {NULL};
    const char *names[MS_MODEL_MAX_MEMBERS];
    for (int i = 0; i < manifest->info.member_count; i++)
        names[i] = fetchable(&manifest->networks[i])->file;
    int rc = fetch_all(pull, manifest, files, err);
    if (rc == 0)
        rc = ms_model_import(
            &(struct ms_model_import){
                .files = (const char *const *)files,
                .names = names,
                .file_count = manifest->info.member_count,
                .folder = pull->folder,
                .manifest = manifest,
            },
            info, err);
    for (int i = 0; i < MS_MODEL_MAX_MEMBERS; i++) {
        if (rc == 0 && files[i] != NULL)
            unlink(files[i]);
        free(files[i]);
    }
    return rc;
}

/* ---- through the store ---- */

static void say(const struct pull *pull, const char *text, const char *why) {
    if (pull->quiet)
        return;
    (void)fputs(text, stderr);
    if (why != NULL)
        ms_cmd_print_plain(why, stderr);
    (void)fputc('\n', stderr);
}

/* As a worker does: a cluster's store may start later. */
static int wait_for_store(const struct pull *pull, struct ms_store *store, struct ms_error *err) {
    bool said = false;
    int rc;
    while ((rc = ms_store_ping(store, err)) == MS_ENET) {
        if (!said)
            say(pull, "Waiting for the store: ", err != NULL ? err->text : NULL);
        said = true;
        if (ms_cmd_wait_interrupted(1000))
            return ms_error_set(err, MS_ECANCELED, "interrupted");
    }
    return rc;
}

static void tell_wait(void) {
    (void)fputs("Waiting for another worker, which fetches the model.\n", stderr);
}

/* Whether somebody must ask the publisher. */
static bool is_missing(int rc) {
    return rc == MS_ENOTFOUND || rc == MS_EMODEL || rc == MS_ECORRUPT || rc == MS_ETOOLARGE ||
           rc == MS_ECONFLICT;
}

/* What the publisher gave serves, also where the store does not take it. */
static void put_into_store(const struct pull *pull, struct ms_store *store, const char *name) {
    struct ms_error err = {0};
    char *path = ms_strdupf("%s/%s.json", pull->folder, name);
    if (path != NULL && ms_model_store_put(store, path, &err) == 0)
        say(pull, "The model is in the store now, for the other workers.", NULL);
    else
        say(pull, "The model is not put into the store: ", err.text);
    free(path);
}

static int pull_with_claim(const struct pull *pull, struct ms_store *store,
                           const struct ms_manifest *manifest, struct ms_model_info *info,
                           struct ms_error *err) {
    /* Meanwhile another may have put it there. */
    int rc = ms_model_store_fetch(store, manifest, pull->folder, err);
    if (!is_missing(rc))
        return rc;
    if (rc != MS_ENOTFOUND)
        say(pull, "The model in the store is not used and will be replaced: ",
            err != NULL ? err->text : NULL);
    rc = pull_from_web(pull, manifest, info, err);
    if (rc == 0)
        put_into_store(pull, store, manifest->info.name);
    return rc;
}

static int pull_by_store(const struct pull *pull, const struct ms_manifest *manifest,
                         struct ms_model_info *info, struct ms_error *err) {
    struct ms_store_options options = ms_service_store(pull->options);
    options.cancel = ms_cmd_interrupted();
    const struct ms_model_claim_options claiming = {
        .store = &options, .name = manifest->info.name, .wait = pull->quiet ? NULL : tell_wait};
    struct ms_model_claim *claim = NULL;
    struct ms_store *store = NULL;
    int rc = ms_make_dirs(pull->folder, err);
    if (rc == 0)
        rc = ms_store_open(&options, &store, err);
    if (rc == 0)
        rc = wait_for_store(pull, store, err);
    if (rc == 0)
        rc = ms_model_store_fetch(store, manifest, pull->folder, err);
    if (is_missing(rc)) {
        rc = ms_model_claim_take(&claiming, &claim, err);
        if (rc == 0)
            rc = pull_with_claim(pull, store, manifest, info, err);
        ms_model_claim_release(claim);
    }
    ms_store_close(store);
    return rc;
}

int ms_model_pull(const struct ms_options *options, const char *folder,
                  const struct ms_manifest *manifest, struct ms_model_info *info,
                  struct ms_error *err) {
    const struct pull pull = {
        .options = options,
        .folder = folder,
        .quiet = ms_options_flag(options, MS_OPTION_QUIET),
    };
    *info = manifest->info;
    if (!ms_options_flag(options, MS_OPTION_VIA_STORE))
        return pull_from_web(&pull, manifest, info, err);
    if (manifest->is_bag)
        return ms_error_set(
            err, MS_EUSAGE,
            "--via-store is for published models; of this one no digests are known");
    const int rc = ms_service_check(options, true, err);
    return rc == 0 ? pull_by_store(&pull, manifest, info, err) : rc;
}
