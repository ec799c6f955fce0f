/* Loads the library that computes. It stays loaded until the process ends: libtorch cannot be
 * unloaded. */
#include "backend.h"

#include <dlfcn.h>
#include <pthread.h>

static const char library[] = "libmsaas_torch.so"; /* found by the executable's RPATH */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct ms_backend *backend;
static struct ms_error failure;

static void load(void) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle != NULL)
        backend = dlsym(handle, "ms_torch_backend");
    if (backend == NULL)
        (void)ms_error_set(
            &failure, MS_EUNSUPPORTED,
            "cannot load the library that computes networks: %s; is libtorch installed?",
            dlerror());
}

int ms_backend_open(const struct ms_backend **out, struct ms_error *err) {
    (void)pthread_once(&once, load);
    *out = backend;
    return backend != NULL ? 0 : ms_error_set(err, failure.code, "%s", failure.text);
}
