/* `msaas model`: fetches, imports, lists and checks models. Main thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_list.h"
#include "model_pull.h"
#include "msaas/cmd.h"
#include "msaas/json.h"
#include "msaas/model_import.h"
#include "msaas/sys.h"
#include "service.h"

static const char usage[] =
    "Downloads, imports, lists and checks models.\n"
    "\n"
    "Usage: msaas model pull NAME [FILE...]   download a published model (resuming where\n"
    "                                         it broke off), or take it from FILEs; check\n"
    "                                         it and import it. NAME may also be the path\n"
    "                                         of a manifest like those in models/, or of a\n"
    "                                         bag of Demucs (NAME.yaml)\n"
    "       msaas model import FILE...        import weights: .safetensors or .th files of\n"
    "                                         Demucs, or htdemucs.onnx; several become one\n"
    "                                         bag. NAME.yaml: a bag with its files beside it\n"
    "       msaas model list                  list installed and available models\n"
    "       msaas model verify [NAME...]      check models against their digests\n"
    "\n"
    "The weights are not part of this program. They have their own licence, which pull\n"
    "and list show.\n";

struct run {
    struct ms_options *options;
    char *folder; /* of the models */
    int first;    /* of the arguments after the name of the action */
    int count;
    bool quiet, json;
    bool failed; /* a fault was reported, and the rest went on */
};

static const char *argument(const struct run *run, int index) {
    return ms_options_argument(run->options, run->first + index);
}

static int no_memory(struct ms_error *err) {
    return ms_error_set(err, MS_ENOMEM, "no memory for a path");
}

static int report_import(const struct run *run, const struct ms_model_info *info,
                         struct ms_error *err) {
    char *path = ms_strdupf("%s/%s.json", run->folder, info->name);
    if (path == NULL)
        return no_memory(err);
    if (run->json) {
        ms_model_print_json(info, path);
    } else if (!run->quiet) {
        printf("%s: %s (", info->name, path);
        ms_model_print_stems(info);
        printf(")\nLicence: %s\n", info->licence);
    }
    free(path);
    return 0;
}

/* ---- import ---- */

/* names: under which the files are published; NULL: their own. */
static int import_files(const struct run *run, const struct ms_manifest *manifest,
                        const char *const *files, const char *const *names, int count,
                        struct ms_error *err) {
    struct ms_model_info info;
    const int rc = ms_model_import(
        &(struct ms_model_import){
            .files = files,
            .names = names,
            .file_count = count,
            .folder = run->folder,
            .name = ms_options_string(run->options, MS_OPTION_MODEL_NAME),
            .manifest = manifest,
        },
        &info, err);
    return rc == 0 ? report_import(run, &info, err) : rc;
}

/* The bag at `path`, from the files beside it. manifest: what they must be; NULL: the bag's own. */
static int import_bag(const struct run *run, const char *path, const struct ms_manifest *manifest,
                      struct ms_error *err) {
    char *files[MS_MODEL_MAX_MEMBERS] = {NULL};
    struct ms_manifest *bag = malloc(sizeof *bag);
    if (bag == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a manifest");
    int rc = ms_manifest_open(path, bag, err);
    if (rc == 0) {
        rc = ms_manifest_find_beside(bag, path, files, err);
        if (rc == 0)
            rc = import_files(run, manifest != NULL ? manifest : bag, (const char *const *)files,
                              NULL, bag->info.member_count, err);
        ms_manifest_close(bag);
    }
    for (int i = 0; i < MS_MODEL_MAX_MEMBERS; i++)
        free(files[i]);
    free(bag);
    return rc;
}

static int import(struct run *run, struct ms_error *err) {
    if (run->count < 1 || run->count > MS_MODEL_MAX_MEMBERS)
        return ms_error_set(
            err, MS_EUSAGE,
            "model import: name the weights' files, one for each network, at most %d",
            MS_MODEL_MAX_MEMBERS);
    if (run->count == 1 && ms_manifest_is_bag(argument(run, 0)))
        return import_bag(run, argument(run, 0), NULL, err);
    const char *files[MS_MODEL_MAX_MEMBERS];
    for (int i = 0; i < run->count; i++)
        files[i] = argument(run, i);
    return import_files(run, NULL, files, NULL, run->count, err);
}

/* ---- pull ---- */

/* Whether the published model is installed already. Nothing is known of a bag's networks that would
 * tell. */
static bool is_there(const struct run *run, const struct ms_manifest *manifest) {
    if (manifest->is_bag)
        return false;
    char *path = ms_strdupf("%s/%s.json", run->folder, manifest->info.name);
    struct ms_error ignored;
    const bool there = path != NULL && ms_manifest_check_model(manifest, path, &ignored) == 0;
    free(path);
    return there;
}

static int pull_published(const struct run *run, const struct ms_manifest *manifest,
                          struct ms_error *err) {
    struct ms_model_info info;
    const int rc = ms_model_pull(run->options, run->folder, manifest, &info, err);
    return rc == 0 ? report_import(run, &info, err) : rc;
}

static int pull_known(struct run *run, const struct ms_manifest *manifest, struct ms_error *err) {
    const int given = run->count - 1;
    if (given > MS_MODEL_MAX_MEMBERS)
        return ms_error_set(err, MS_EUSAGE, "model pull: too many files");
    if (is_there(run, manifest))
        return report_import(run, &manifest->info, err);
    if (given == 0)
        return pull_published(run, manifest, err);
    if (given == 1 && ms_manifest_is_bag(argument(run, 1)))
        return import_bag(run, argument(run, 1), manifest, err);
    const char *files[MS_MODEL_MAX_MEMBERS];
    for (int i = 0; i < given; i++)
        files[i] = argument(run, 1 + i);
    return import_files(run, manifest, files, NULL, given, err);
}

static int pull(struct run *run, struct ms_error *err) {
    if (run->count < 1)
        return ms_error_set(err, MS_EUSAGE,
                            "model pull: name a model; msaas model list shows them");
    const char *name = argument(run, 0);
    if (run->count == 1 && ms_manifest_is_bag(name) &&
        ms_options_string(run->options, MS_OPTION_URL) == NULL)
        return import_bag(run, name, NULL, err);
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    if (manifest == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a manifest");
    int rc = ms_manifest_open(name, manifest, err);
    if (rc == 0) {
        rc = pull_known(run, manifest, err);
        ms_manifest_close(manifest);
    }
    free(manifest);
    return rc;
}

/* ---- list and verify ---- */

static int list(struct run *run, struct ms_error *err) {
    if (run->count > 0)
        return ms_error_set(err, MS_EUSAGE, "model list takes no arguments");
    return ms_model_list_print(run->folder, run->json, err);
}

static int check(const char *path, struct ms_model_info *info, struct ms_error *err) {
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    if (manifest == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a manifest");
    int rc = ms_model_describe(path, info, err);
    if (rc == 0 && ms_manifest_open(info->name, manifest, NULL) == 0) {
        rc = ms_manifest_check_model(manifest, path, err);
        ms_manifest_close(manifest);
    } else if (rc == 0) {
        rc = ms_model_verify(path, NULL, err);
    }
    free(manifest);
    return rc;
}

/* Reports on one model. After a bad one the others are still checked. */
static int tell_verdict(struct run *run, const char *model, int rc, const struct ms_error *err) {
    if (rc == MS_ENOMEM || rc == MS_EUSAGE)
        return rc;
    struct ms_json_writer *writer = run->json ? ms_json_writer_new() : NULL;
    if (writer != NULL) {
        ms_json_begin_object(writer, NULL);
        ms_json_put_string(writer, "model", model);
        ms_json_put_bool(writer, "good", rc == 0);
        ms_json_put_string(writer, "message", rc == 0 ? NULL : err->text);
        ms_json_end_object(writer);
        const char *text = ms_json_writer_text(writer, NULL);
        if (text != NULL)
            (void)puts(text);
        ms_json_writer_free(writer);
    } else if (rc == 0 && !run->quiet) {
        printf("%s: good\n", model);
    }
    if (rc != 0) {
        run->failed = true;
        (void)ms_cmd_failed("model", err);
    }
    return 0;
}

static int verify_one(void *context, const char *path, struct ms_error *err) {
    struct run *run = context;
    struct ms_model_info info;
    int rc = check(path, &info, err);
    return tell_verdict(run, rc == 0 ? info.name : path, rc, err);
}

static int verify(struct run *run, struct ms_error *err) {
    int rc = 0;
    if (run->count == 0)
        return ms_model_list_each(run->folder, verify_one, run, err);
    for (int i = 0; i < run->count && rc == 0; i++) {
        const char *name = argument(run, i);
        char *path;
        rc = ms_model_locate(run->folder, name, &path, err);
        if (rc != 0) {
            rc = tell_verdict(run, name, rc, err);
        } else {
            rc = verify_one(run, path, err);
            free(path);
        }
    }
    return rc;
}

static const struct {
    const char *name;
    int (*act)(struct run *run, struct ms_error *err);
} actions[] = {{"pull", pull}, {"import", import}, {"list", list}, {"verify", verify}};

static int act(struct run *run, struct ms_error *err) {
    const char *out = ms_options_string(run->options, MS_OPTION_MODEL_OUT);
    const char *name = NULL;
    if (ms_options_argument_count(run->options) > 0)
        name = ms_options_argument(run->options, 0);
    int rc;
    for (size_t i = 0; name != NULL && i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, name) != 0)
            continue;
        rc =
            ms_models_dir(out != NULL ? out : ms_options_string(run->options, MS_OPTION_MODELS_DIR),
                          &run->folder, err);
        if (rc != 0)
            return rc;
        if (actions[i].act != import && ms_options_is_set(run->options, MS_OPTION_MODEL_NAME))
            return ms_error_set(err, MS_EUSAGE, "--name is for model import only");
        if (actions[i].act != pull && ms_options_is_set(run->options, MS_OPTION_URL))
            return ms_error_set(err, MS_EUSAGE, "--url is for model pull only");
        if (actions[i].act != pull && ms_options_flag(run->options, MS_OPTION_VIA_STORE))
            return ms_error_set(err, MS_EUSAGE, "--via-store is for model pull only");
        run->first = 1;
        run->count = ms_options_argument_count(run->options) - 1;
        run->quiet = ms_options_flag(run->options, MS_OPTION_QUIET);
        run->json = ms_options_flag(run->options, MS_OPTION_JSON);
        return actions[i].act(run, err);
    }
    if (name != NULL)
        return ms_error_set(err, MS_EUSAGE,
                            "model: unknown action \"%s\": use pull, import, list or verify", name);
    return ms_error_set(err, MS_EUSAGE, "model: name an action: pull, import, list or verify");
}

static int run_model(const struct ms_call *call) {
    struct ms_error err = {0};
    struct run run = {0};
    int exit_code;
    if (!ms_cmd_begin(call, &run.options, &exit_code))
        return exit_code;
    exit_code = act(&run, &err) != 0 ? ms_cmd_failed(call->argv[0], &err)
                : run.failed         ? MS_EXIT_FAILED
                                     : MS_EXIT_OK;
    free(run.folder);
    ms_options_free(run.options);
    return exit_code;
}

static const enum ms_option_id option_ids[] = {
    MS_OPTION_MODELS_DIR, MS_OPTION_MODEL_OUT, MS_OPTION_MODEL_NAME,
    MS_OPTION_URL,        MS_OPTION_VIA_STORE, MS_SERVICE_STORE_OPTIONS,
    MS_OPTION_JSON,       MS_OPTION_QUIET,     MS_OPTION_COUNT};

const struct ms_command ms_cmd_model = {
    .name = "model",
    .summary = "download, import, list and check models",
    .usage = usage,
    .options = option_ids,
    .run = run_model,
};
