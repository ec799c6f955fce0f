/* zip_store NAME BYTES TOLD [NAME BYTES TOLD]...: an archive on standard output, of files whose
 * bytes are 0, 1, .. 250, 0, 1 ...; TOLD: the most bytes that the writer is told, -1: nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/zip_writer.h"

static void put(const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, stdout) != size)
        exit(1);
}

int main(int argc, char **argv) {
    static unsigned char block[251 * 4096];
    struct ms_zip_writer *zip = NULL;
    struct ms_error err = {0};
    const void *bytes;
    size_t size;
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (unsigned char)(i % 251);
    int rc = ms_zip_writer_new(1700000000, &zip, &err);
    for (int i = 1; rc == 0 && i + 2 < argc; i += 3) {
        rc = ms_zip_writer_begin(zip, argv[i], strtoll(argv[i + 2], NULL, 10), &bytes, &size, &err);
        if (rc != 0)
            break;
        put(bytes, size);
        for (long long left = strtoll(argv[i + 1], NULL, 10), piece; left > 0; left -= piece) {
            piece = left < (long long)sizeof block ? left : (long long)sizeof block;
            ms_zip_writer_add(zip, block, (size_t)piece);
            put(block, (size_t)piece);
        }
        rc = ms_zip_writer_end(zip, &bytes, &size, &err);
        put(bytes, rc == 0 ? size : 0);
    }
    if (rc == 0)
        rc = ms_zip_writer_finish(zip, &bytes, &size, &err);
    if (rc == 0)
        put(bytes, size);
    else
        (void)fprintf(stderr, "%s\n", err.text);
    ms_zip_writer_free(zip);
    return rc == 0 && fflush(stdout) == 0 ? 0 : 1;
}
