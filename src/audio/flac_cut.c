/* See flac_cut.h. Blocks carry their number, so the one that holds a frame is found by guessing
 * where it lies, looking which one is there, and guessing again between what is known. A block's
 * header is taken for one when its checksum holds, its fixed fields are those of the first block,
 * and the header of the next block follows: samples may look like one header, not like two. */
#include "msaas/flac_cut.h"

#include <stdlib.h>
#include <string.h>

#define MARK_BYTES 4
#define INFO_BYTES 34               /* STREAMINFO */
#define MOST_HEAD_BYTES (2u << 20)  /* of texts */
#define MOST_BLOCK_BYTES (1u << 20) /* FFmpeg's have 28 KB at most */
#define MOST_METADATA 200
#define MOST_GUESSES 64
#define HEADER_BYTES 16 /* of a block, at most */

enum { STREAMINFO = 0, VORBIS_COMMENT = 4, LAST = 0x80 };

struct search {
    const struct ms_media_source *source;
    int64_t block_frames, blocks; /* of the whole */
    uint8_t sizes;                /* of all headers but the last: the codes of size and rate */
    uint8_t bits;                 /* of all headers: the code of the sample's bits */
    size_t block_bytes;           /* no block has more */
    uint8_t *window;              /* [2 * block_bytes + HEADER_BYTES] */
    size_t size;                  /* that are read */
};

static int damaged(struct ms_error *err) {
    return ms_error_set(err, MS_EINPUT, "is no FLAC file, or damaged");
}

/* *got is less than `size` at the end of the file alone. */
static int read_at(const struct ms_media_source *source, int64_t at, uint8_t *buffer, size_t size,
                   size_t *got, struct ms_error *err) {
    *got = 0;
    while (*got < size && at + (int64_t)*got < source->bytes) {
        size_t part = 0;
        const int rc = source->read(source->context, at + (int64_t)*got, buffer + *got, size - *got,
                                    &part, err);
        if (rc != 0)
            return rc;
        if (part == 0)
            break;
        *got += part;
    }
    return 0;
}

static uint32_t big_endian(const uint8_t *bytes, int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* ---- the head ---- */

static int append(struct ms_flac_cut *cut, int64_t at, size_t size, struct ms_error *err) {
    if (size > MOST_HEAD_BYTES - cut->head_bytes)
        return ms_error_set(err, MS_EUNSUPPORTED, "has texts of more than %u bytes",
                            MOST_HEAD_BYTES);
    uint8_t *head = realloc(cut->head, cut->head_bytes + size);
    if (head == NULL)
        return ms_error_set(err, MS_ENOMEM, "out of memory");
    cut->head = head;
    size_t got;
    const int rc = read_at(&cut->whole, at, head + cut->head_bytes, size, &got, err);
    if (rc == 0 && got < size)
        return damaged(err);
    cut->head_bytes += size;
    return rc;
}

/* Copies mark, STREAMINFO and texts; body_at becomes where the first block lies. */
static int read_head(struct ms_flac_cut *cut, struct ms_error *err) {
    int64_t at = MARK_BYTES;
    size_t last_at = MARK_BYTES; /* in the new head */
    uint8_t type = 0;
    int rc = append(cut, 0, MARK_BYTES, err);
    if (rc == 0 && memcmp(cut->head, "fLaC", MARK_BYTES) != 0)
        return damaged(err);
    for (int i = 0; rc == 0 && (type & LAST) == 0; i++) {
        uint8_t mark[4];
        size_t got;
        rc = read_at(&cut->whole, at, mark, sizeof mark, &got, err);
        if (rc != 0)
            return rc;
        const uint32_t size = big_endian(mark + 1, 3);
        type = mark[0];
        const bool is_info = (type & ~LAST) == STREAMINFO;
        if (got < sizeof mark || i >= MOST_METADATA || is_info != (i == 0) ||
            (is_info && size != INFO_BYTES))
            return damaged(err);
        if (is_info || (type & ~LAST) == VORBIS_COMMENT) {
            last_at = cut->head_bytes;
            rc = append(cut, at, sizeof mark + size, err);
            if (rc == 0)
                cut->head[last_at] &= (uint8_t)~LAST;
        }
        at += (int64_t)sizeof mark + size;
    }
    if (rc == 0)
        cut->head[last_at] |= LAST;
    cut->body_at = at;
    return rc;
}

/* The fields of STREAMINFO (RFC 9639, 8.2) that count here. */
static int read_info(struct ms_flac_cut *cut, struct search *search, struct ms_error *err) {
    const uint8_t *info = cut->head + MARK_BYTES + 4;
    const uint32_t least = big_endian(info, 2), most = big_endian(info + 2, 2);
    const uint32_t channels = (info[12] >> 1 & 7) + 1u;
    const uint32_t bits = ((info[12] & 1u) << 4 | info[13] >> 4) + 1u;
    cut->frames = (int64_t)(info[13] & 15) << 32 | big_endian(info + 14, 4);
    if (least != most || least < 16 || cut->frames == 0)
        return ms_error_set(err, MS_EUNSUPPORTED, "has blocks of different sizes, or no length");
    search->block_frames = least;
    search->blocks = (cut->frames + least - 1) / least;
    /* A side channel has one bit more; the rest is for headers of blocks and channels. */
    search->block_bytes = (size_t)least * channels * (bits + 1) / 8 + 64;
    return search->block_bytes <= MOST_BLOCK_BYTES ? 0 : damaged(err);
}

/* The new head tells how long the cut is; the digest of the whole does not fit it. */
static void tell_length(struct ms_flac_cut *cut) {
    uint8_t *info = cut->head + MARK_BYTES + 4;
    const uint64_t frames = (uint64_t)(cut->frames - cut->before);
    info[13] = (uint8_t)((info[13] & 0xf0u) | (frames >> 32 & 15));
    for (int i = 0; i < 4; i++)
        info[14 + i] = (uint8_t)(frames >> (24 - 8 * i));
    memset(info + 18, 0, 16);
}

/* ---- headers of blocks ---- */

static uint8_t crc8(const uint8_t *bytes, size_t size) {
    unsigned crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x80u) != 0 ? (crc << 1 ^ 0x07u) & 0xffu : crc << 1;
    }
    return (uint8_t)crc;
}

/* The number in a block's header, coded as UTF-8 is; *size: its bytes. -1: there is none. */
static int64_t coded_number(const uint8_t *at, size_t *size) {
    int length = 0;
    while (length < 7 && (at[0] & 0x80u >> length) != 0)
        length++;
    if (length == 1 || length == 7)
        return -1;
    *size = length == 0 ? 1 : (size_t)length;
    int64_t number = length == 0 ? at[0] : at[0] & (0x7f >> length);
    for (int i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return -1;
        number = number << 6 | (at[i] & 0x3f);
    }
    return number;
}

/* The number of the block whose header begins there; HEADER_BYTES can be read. -1: none does. */
static int64_t header_number(const struct search *search, const uint8_t *at) {
    if (at[0] != 0xff || at[1] != 0xf8 || (at[2] & 0x0f) != (search->sizes & 0x0f) ||
        (at[3] & 0x0f) != search->bits)
        return -1;
    size_t number_bytes;
    const int64_t number = coded_number(at + 4, &number_bytes);
    if (number < 0 || number >= search->blocks)
        return -1;
    if (number < search->blocks - 1 && at[2] != search->sizes)
        return -1;
    const unsigned frames = at[2] >> 4, rate = at[2] & 0x0f;
    const size_t size = 4 + number_bytes + (frames == 6) + (frames == 7 ? 2 : 0) + (rate == 12) +
                        (rate == 13 || rate == 14 ? 2 : 0);
    return crc8(at, size) == at[size] ? number : -1;
}

/* The first header in the window at or behind `from`; wanted: of this block, or -1. Returns its
 * place, or the window's size where there is none. */
static size_t find_header(const struct search *search, size_t from, int64_t wanted,
                          int64_t *number) {
    while (from + HEADER_BYTES <= search->size) {
        const uint8_t *at = memchr(search->window + from, 0xff, search->size - from);
        if (at == NULL || at + HEADER_BYTES > search->window + search->size)
            break;
        *number = header_number(search, at);
        if (*number >= 0 && (wanted < 0 || *number == wanted))
            return (size_t)(at - search->window);
        from = (size_t)(at - search->window) + 1;
    }
    return search->size;
}

/* The first header that is one: the next one follows. */
static size_t find_block(const struct search *search, int64_t *number) {
    size_t at = 0;
    for (;; at++) {
        int64_t next;
        at = find_header(search, at, -1, number);
        if (at == search->size || *number == search->blocks - 1 ||
            find_header(search, at + 1, *number + 1, &next) < search->size)
            return at;
    }
}

/* ---- the search ---- */

static int look_at(struct search *search, int64_t at, struct ms_error *err) {
    const size_t size = 2 * search->block_bytes + HEADER_BYTES;
    size_t got;
    const int rc = read_at(search->source, at, search->window, size, &got, err);
    /* The last block may be shorter than HEADER_BYTES. */
    memset(search->window + got, 0, size + HEADER_BYTES - got);
    search->size = got < size ? got + HEADER_BYTES : got;
    return rc;
}

/* Of `low`, where the block's header lies; of `high`, where all headers of blocks before it have
 * come by. */
struct known {
    int64_t block, at;
};

/* From the first block in the window to the one that is wanted, or the last. False: none is there.
 */
static bool walk(const struct search *search, int64_t window_at, int64_t wanted,
                 struct known *found) {
    int64_t number, next;
    size_t at = find_block(search, &number);
    if (at == search->size)
        return false;
    while (number < wanted) {
        const size_t after = find_header(search, at + 1, number + 1, &next);
        if (after == search->size)
            break;
        at = after;
        number = next;
    }
    *found = (struct known){number, window_at + (int64_t)at};
    return true;
}

/* By proportion, a little before; each third time the middle, where the proportions deceive. */
static int64_t guess(const struct search *search, struct known low, struct known high,
                     int64_t wanted, int turn) {
    const double share =
        turn % 3 == 2 ? 0.5 : (double)(wanted - low.block) / (double)(high.block - low.block);
    const int64_t at =
        low.at + (int64_t)(share * (double)(high.at - low.at)) - (int64_t)search->block_bytes / 2;
    return at > low.at ? at : low.at;
}

static int find(struct search *search, int64_t body_at, int64_t wanted, int64_t *at,
                struct ms_error *err) {
    struct known low = {0, body_at}, high = {search->blocks, search->source->bytes};
    for (int turn = 0; low.block < wanted; turn++) {
        struct known found;
        const int64_t window_at = guess(search, low, high, wanted, turn);
        const int rc = turn < MOST_GUESSES ? look_at(search, window_at, err) : damaged(err);
        if (rc != 0)
            return rc;
        if (!walk(search, window_at, wanted, &found)) {
            if (window_at + (int64_t)search->size < high.at || window_at == low.at)
                return damaged(err);
            high.at = window_at; /* in the middle of the last block before `high` */
        } else if (found.block > wanted) {
            if (window_at == low.at)
                return damaged(err);
            high = (struct known){found.block, window_at};
        } else if (found.block > low.block) {
            low = found;
        } else if (window_at == low.at) {
            return damaged(err);
        }
    }
    *at = low.at;
    return 0;
}

static int read_first(struct search *search, int64_t body_at, struct ms_error *err) {
    const int rc = look_at(search, body_at, err);
    if (rc != 0)
        return rc;
    search->sizes = search->window[2];
    search->bits = search->window[3] & 0x0f;
    return header_number(search, search->window) == 0 ? 0 : damaged(err);
}

int ms_flac_cut_open(struct ms_flac_cut *cut, const struct ms_media_source *whole, int64_t first,
                     struct ms_error *err) {
    struct search search = {.source = &cut->whole};
    *cut = (struct ms_flac_cut){.whole = *whole};
    int rc = read_head(cut, err);
    if (rc == 0)
        rc = read_info(cut, &search, err);
    if (rc != 0 || first >= cut->frames)
        return rc;
    search.window = malloc(2 * search.block_bytes + (size_t)2 * HEADER_BYTES);
    rc = search.window != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "out of memory");
    if (rc == 0)
        rc = read_first(&search, cut->body_at, err);
    if (rc == 0)
        rc = find(&search, cut->body_at, first / search.block_frames, &cut->body_at, err);
    free(search.window);
    cut->before = first / search.block_frames * search.block_frames;
    tell_length(cut);
    return rc;
}

static int read_cut(void *context, int64_t at, void *buffer, size_t size, size_t *got,
                    struct ms_error *err) {
    const struct ms_flac_cut *cut = context;
    const int64_t head_bytes = (int64_t)cut->head_bytes;
    if (at >= head_bytes)
        return cut->whole.read(cut->whole.context, cut->body_at + at - head_bytes, buffer, size,
                               got, err);
    *got = size < cut->head_bytes - (size_t)at ? size : cut->head_bytes - (size_t)at;
    memcpy(buffer, cut->head + at, *got);
    return 0;
}

struct ms_media_source ms_flac_cut_source(struct ms_flac_cut *cut) {
    return (struct ms_media_source){.bytes =
                                        (int64_t)cut->head_bytes + cut->whole.bytes - cut->body_at,
                                    .read = read_cut,
                                    .context = cut};
}

void ms_flac_cut_close(struct ms_flac_cut *cut) {
    free(cut->head);
    cut->head = NULL;
}
