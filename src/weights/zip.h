/* Zip archives as torch.save writes them: members stored as they are, no compression, no
 * encryption. */
#ifndef MSAAS_WEIGHTS_ZIP_H
#define MSAAS_WEIGHTS_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "msaas/err.h"

struct ms_zip_entry {
    const char *name; /* not NUL-terminated; borrowed from the file, as the bytes are */
    size_t name_size;
    const uint8_t *bytes;
    size_t size;
};

struct ms_zip {
    size_t count;
    struct ms_zip_entry *entries; /* sorted by name */
};

/* Borrows the bytes. Refuses compressed or encrypted members, two of one name, members outside the
 * file or beyond 4 GiB (zip64), and more than 65,534 members. MS_EMODEL. On failure there is
 * nothing to free. */
MS_MUST_CHECK int ms_zip_open(struct ms_zip *zip, const uint8_t *bytes, size_t size,
                              struct ms_error *err);
void ms_zip_close(struct ms_zip *zip);
/* NULL where there is none. */
const struct ms_zip_entry *ms_zip_find(const struct ms_zip *zip, const char *name,
                                       size_t name_size);

#endif
