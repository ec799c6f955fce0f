/* Models on disk: found, described, checked; damage of any kind is refused. Known models' manifests
 * and imports. */
#include "tiny_model.h"

#include <sys/stat.h>

#include "msaas/model_import.h"

struct scene {
    char folder[64];
    char json[100], network[100];
};

static int set_up(void **state) {
    struct scene *scene = calloc(1, sizeof *scene);
    make_folder(scene->folder);
    snprintf(scene->json, sizeof scene->json, "%s/tiny.json", scene->folder);
    snprintf(scene->network, sizeof scene->network, "%s/tiny-0.safetensors", scene->folder);
    write_tiny_model(scene->folder, 2);
    *state = scene;
    return 0;
}

static int tear_down(void **state) {
    struct scene *scene = *state;
    remove_folder(scene->folder);
    free(scene);
    return 0;
}

static void a_sound_model(void **state) {
    const struct scene *scene = *state;
    const struct ms_hyper hyper = tiny_hyper();
    struct ms_model_json json;
    struct ms_model_info info;
    assert_int_equal(ms_model_verify(scene->json, &info, NULL), 0);
    assert_string_equal(info.name, "tiny");
    assert_string_equal(info.licence, "none");
    assert_int_equal(info.stem_count, 2);
    assert_string_equal(info.stems[1], "rest");
    assert_int_equal(info.member_count, 2);
    assert_true(info.weights[0][0] == 1 && info.weights[0][1] == 0 && info.weights[1][1] == 1);
    assert_int_equal(info.segment_frames, 4096);
    assert_int_equal(info.sample_rate_hz, 44100);
    assert_int_equal(ms_model_json_read(scene->json, &json, NULL), 0);
    assert_true(ms_hyper_equal(&json.hyper, &hyper));
}

static void models_are_found(void **state) {
    const struct scene *scene = *state;
    char *path;
    assert_int_equal(ms_model_locate(scene->folder, "tiny", &path, NULL), 0);
    assert_string_equal(path, scene->json);
    free(path);
    assert_int_equal(ms_model_locate("/nonexistent", scene->json, &path, NULL), 0);
    assert_string_equal(path, scene->json);
    free(path);
    assert_int_equal(ms_model_locate("/nonexistent", scene->folder, &path, NULL), 0);
    assert_string_equal(path, scene->json);
    free(path);
    struct ms_error err;
    assert_int_equal(ms_model_locate(scene->folder, "other", &path, &err), MS_ENOTFOUND);
    char text[200];
    assert_non_null(strstr(err.text, "htdemucs, htdemucs_6s, htdemucs_ft"));
    assert_non_null(strstr(err.text, "msaas model import"));
    assert_null(strstr(err.text, "pull other"));
    assert_int_equal(ms_model_locate(scene->folder, "htdemucs_ft", &path, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, "msaas model pull htdemucs_ft"));
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    assert_non_null(manifest);
    assert_int_equal(ms_manifest_open("other", manifest, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, "htdemucs, htdemucs_6s, htdemucs_ft"));
    assert_non_null(strstr(err.text, "msaas model import"));
    free(manifest);
    assert_int_equal(ms_model_locate(scene->folder, "o\33ther", &path, &err), MS_ENOTFOUND);
    assert_int_equal(ms_model_locate(scene->folder, "", &path, &err), MS_ENOTFOUND);
    snprintf(text, sizeof text, "%s/second.json", scene->folder);
    write_file(text, "{}", 2);
    assert_int_equal(ms_model_locate("/nonexistent", scene->folder, &path, &err), MS_EMODEL);
}

/* Every bit of the description and of the weights' header, and some of the values. */
static void a_flipped_bit_is_refused(void **state) {
    const struct scene *scene = *state;
    const char *const paths[] = {scene->json, scene->network};
    for (int i = 0; i < 2; i++) {
        size_t size;
        char *bytes = read_file(paths[i], &size);
        const size_t step = i == 0 ? 1 : 37;
        for (size_t at = 0; at < size; at += at < 32 || at > size - 32 ? 1 : step) {
            const char flip = (char)(1 << at % 8);
            FILE *file = fopen(paths[i], "r+b");
            bytes[at] ^= flip;
            assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
            fputc(bytes[at], file);
            fclose(file);
            struct ms_error err;
            if (ms_model_verify(scene->json, NULL, &err) == 0)
                fail_msg("byte %zu of %s", at, paths[i]);
            assert_non_null(strstr(err.text, i == 0 ? "tiny" : "tiny-0.safetensors"));
            bytes[at] ^= flip;
            file = fopen(paths[i], "r+b");
            assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
            fputc(bytes[at], file);
            fclose(file);
        }
        assert_int_equal(ms_model_verify(scene->json, NULL, NULL), 0);
        free(bytes);
    }
}

static void damage_names_file_and_digests(void **state) {
    const struct scene *scene = *state;
    size_t size;
    char *bytes = read_file(scene->network, &size);
    write_file(scene->network, bytes, size - 1);
    struct ms_error err;
    assert_int_equal(ms_model_verify(scene->json, NULL, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, scene->network));
    assert_non_null(strstr(err.text, "SHA-256"));
    free(bytes);
    unlink(scene->network);
    assert_int_equal(ms_model_verify(scene->json, NULL, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, scene->network));
    write_file(scene->network, "", 0);
    assert_int_equal(ms_model_verify(scene->json, NULL, &err), MS_EMODEL);
}

/* The description with one text in place of another; its digest does not fit any more, so it is
 * left out. */
static int parse_with(const struct scene *scene, const char *old, const char *new,
                      struct ms_error *err) {
    struct ms_model_json json;
    char text[4000] = "";
    size_t size;
    char *bytes = read_file(scene->json, &size);
    char *digest = strstr(bytes, ",\"digest\"");
    assert_non_null(digest);
    strcpy(digest, "}");
    char *at = strstr(bytes, old);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - bytes), bytes, new, at + strlen(old));
    free(bytes);
    return ms_model_json_parse(text, strlen(text), &json, err);
}

static void hostile_descriptions(void **state) {
    static const char *const changes[][2] = {
        {"\"tiny-0.safetensors\"", "\"../tiny-0.safetensors\""},
        {"\"tiny-0.safetensors\"", "\"/etc/passwd\""},
        {"\"tiny-0.safetensors\"", "\".hidden\""},
        {"\"tiny-0.safetensors\"", "\"\""},
        {"\"tiny-0.safetensors\"", "7"},
        {"\"noise\"", "\"../noise\""},
        {"\"noise\"", "\"rest\""},
        {"\"noise\"", "\"a-name-that-is-longer-than-any-stem-has\""},
        {"\"none\"", "\"line\\nbreak\""},
        {"\"none\"", "null"},
        {"msaas-model-1", "msaas-model-2"},
        {"[1,0]", "[1]"},
        {"[1,0]", "[0,0]"},
        {"[1,0]", "[-1,0]"},
        {"[1,0]", "[1e9,0]"},
        {"\"t_heads\":2", "\"t_heads\":3"},
        {"\"t_heads\":2", "\"t_heads\":2.5"},
        {"\"t_heads\":2", "\"t_heads\":true"},
        {"\"t_heads\":2", "\"t_headz\":2"},
        {"\"t_heads\":2", "\"t_heads\":2,\"more\":1"},
        {"\"t_layers\":2", "\"t_layers\":99999999999"},
        {"\"dconv_encoder\":true", "\"dconv_encoder\":1"},
        {"\"samplerate\":44100", "\"samplerate\":1"},
        {"\"samplerate\":44100", "\"sampleratf\":44100"},
        {"\"source\"", "\"extra\":1,\"source\""},
        {"\"segment_frames\":4096", "\"segment_frames\":-4096"},
    };
    struct ms_error err;
    assert_int_equal(parse_with(*state, "\"none\"", "\"free\"", &err), 0);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (parse_with(*state, changes[i][0], changes[i][1], &err) != MS_EMODEL)
            fail_msg("accepted: %s", changes[i][1]);
    }
}

static void a_renamed_model_is_refused(void **state) {
    const struct scene *scene = *state;
    char path[120];
    snprintf(path, sizeof path, "%s/htdemucs.json", scene->folder);
    assert_int_equal(rename(scene->json, path), 0);
    struct ms_error err;
    assert_int_equal(ms_model_verify(path, NULL, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "tiny"));
}

static void manifests_are_sound(void **state) {
    static const char *const names[] = {"htdemucs", "htdemucs_6s", "htdemucs_ft", NULL};
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    struct ms_error err;
    (void)state;
    for (int i = 0; i < 4; i++) {
        if (names[i] == NULL) {
            assert_null(ms_manifest_name(i));
            continue;
        }
        assert_string_equal(ms_manifest_name(i), names[i]);
        assert_int_equal(ms_manifest_open(names[i], manifest, NULL), 0);
        assert_string_equal(manifest->info.name, names[i]);
        assert_int_equal(manifest->info.member_count, i == 2 ? 4 : 1);
        assert_int_equal(manifest->info.stem_count, i == 1 ? 6 : 4);
        assert_int_not_equal(strlen(manifest->info.licence), 0);
        for (int j = 0; i == 2 && j < 4; j++)
            for (int k = 0; k < 4; k++)
                assert_true(manifest->info.weights[j][k] == (j == k));
        ms_manifest_close(manifest);
    }
    assert_int_equal(ms_manifest_open("nothing", manifest, &err), MS_ENOTFOUND);
    assert_non_null(strstr(err.text, "htdemucs_ft"));
    assert_int_equal(ms_manifest_open("/nonexistent/x.json", manifest, &err), MS_ENOTFOUND);
    free(manifest);
}

/* What is not the published file is never parsed, and nothing of it stays. */
static void strangers_are_not_imported(void **state) {
    struct ms_manifest *manifest = malloc(sizeof *manifest);
    char folder[64], path[100], out[100];
    const char *files[] = {path};
    struct ms_model_import import = {
        .files = files, .file_count = 1, .folder = out, .manifest = manifest};
    (void)state;
    make_folder(folder);
    snprintf(path, sizeof path, "%s/htdemucs.onnx", folder);
    snprintf(out, sizeof out, "%s/out", folder);
    write_file(path, "PK\3\4", 4);
    assert_int_equal(ms_manifest_open("htdemucs", manifest, NULL), 0);
    struct ms_error err;
    assert_int_equal(ms_manifest_check_source(manifest, 0, path, &err), MS_ECORRUPT);
    assert_int_equal(ms_model_import(&import, NULL, &err), MS_ECORRUPT);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "da9e5101ee08"));
    assert_non_null(strstr(err.text, "8726e21a"));
    import.file_count = 2;
    assert_int_equal(ms_model_import(&import, NULL, &err), MS_EUSAGE);
    import.file_count = 1;
    import.manifest = NULL;
    assert_int_equal(ms_model_import(&import, NULL, &err), MS_EMODEL);
    import.name = "../htdemucs";
    assert_int_equal(ms_model_import(&import, NULL, &err), MS_EUSAGE);
    assert_int_equal(remove_folder(out), 0);
    assert_int_equal(remove_folder(folder), 1);
    ms_manifest_close(manifest);
    free(manifest);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_model),
        TEST(models_are_found),
        TEST(a_flipped_bit_is_refused),
        TEST(damage_names_file_and_digests),
        TEST(hostile_descriptions),
        TEST(a_renamed_model_is_refused),
        cmocka_unit_test(manifests_are_sound),
        cmocka_unit_test(strangers_are_not_imported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
