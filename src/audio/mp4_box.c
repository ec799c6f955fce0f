/* Boxes of an MP4 file -> a stream. Owns nothing; any thread. */
#include "mp4_box.h"

void ms_box_put(FILE *to, int bytes, uint64_t value) {
    while (bytes-- > 0)
        (void)putc_unlocked((int)(value >> (8 * bytes) & 0xff), to);
}

void ms_box_put_zeros(FILE *to, int bytes) {
    while (bytes-- > 0)
        (void)putc_unlocked(0, to);
}

off_t ms_box_begin(FILE *to, const char *type) {
    const off_t box = ftello(to);
    ms_box_put_zeros(to, 4);
    (void)fwrite(type, 1, 4, to);
    return box;
}

off_t ms_box_begin_full(FILE *to, const char *type, unsigned version, unsigned flags) {
    const off_t box = ms_box_begin(to, type);
    ms_box_put(to, 4, version << 24 | flags);
    return box;
}

void ms_box_end(FILE *to, off_t box) {
    const off_t end = ftello(to);
    (void)fseeko(to, box, SEEK_SET);
    ms_box_put(to, 4, (uint64_t)(end - box));
    (void)fseeko(to, end, SEEK_SET);
}
