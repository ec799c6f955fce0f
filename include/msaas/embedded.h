/* Files built into the binary (cmake/embed.cmake). Static; any thread. */
#ifndef MSAAS_EMBEDDED_H
#define MSAAS_EMBEDDED_H

#include <stddef.h>

struct ms_embedded {
    const char *name; /* the file's name without its folder; NULL ends a list */
    const unsigned char *bytes;
    size_t size;
};

extern const struct ms_embedded ms_embedded_manifests[]; /* models/NAME.json */
extern const struct ms_embedded ms_embedded_lua[];       /* src/queue/lua/NAME.lua */
extern const struct ms_embedded ms_embedded_openapi[];   /* src/api/openapi.json */
/* The page, as src/web/build.mjs builds it: index.html, the files that it links to, each of them
 * once more as NAME.gz. Empty in a binary without the page. */
extern const struct ms_embedded ms_embedded_web[];

#endif
