/* `msaas model` alone, without libtorch: what tests that run it many times run, since it starts at once. */
#include "msaas/cmd.h"

/* src/cmd/cmd.c opens models for the subcommands that run them; this one does not. */
int ms_model_open(const char *path, const char *device, enum ms_precision precision,
                  struct ms_model **out, struct ms_error *err) {
    (void)device;
    (void)precision;
    *out = NULL;
    return ms_error_set(err, MS_EUNSUPPORTED, "%s: no network here", path);
}

int main(int argc, char **argv) {
    return ms_cmd_model(argc - 1, argv + 1);
}
