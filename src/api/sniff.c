/* The first check of a song: what cannot be one is not worth a place in the queue. It accepts too
 * much rather than too little, because the worker decides. */
#include "sniff.h"

#include <stdint.h>
#include <string.h>

#define MAX_PADDING_BYTES                                                                          \
    65536 /* zeros that faulty encoders leave before the first frame of an MP3 */
#define TS_PACKET_BYTES ((size_t)188)

/* Fixed bytes at a fixed place; `rest`, if any, 8 bytes after the beginning of `magic`. */
static const struct {
    size_t at;
    const char *magic;
    size_t size;
    const char *rest; /* four characters */
} signatures[] = {
    {0, "ID3", 3, NULL},
    {0, "fLaC", 4, NULL},
    {0, "OggS", 4, NULL},
    {0, "RIFF", 4, "WAVE"},
    {0, "RIFF", 4, "AVI "},
    {0, "RIFX", 4, "WAVE"},
    {0, "RF64", 4, "WAVE"},
    {0, "BW64", 4, "WAVE"},
    {0, "FORM", 4, "AIFF"},
    {0, "FORM", 4, "AIFC"},
    {0, "FORM", 4, "8SVX"},
    {0, "FRM8", 4, NULL},                             /* DSDIFF */
    {0, "riff\x2e\x91\xcf\x11", 8, NULL},             /* Wave64 */
    {0, "caff", 4, NULL},                             /* Core Audio */
    {0, ".snd", 4, NULL},                             /* AU */
    {0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11", 8, NULL}, /* ASF: WMA, WMV */
    {0, "\x1a\x45\xdf\xa3", 4, NULL},                 /* EBML: Matroska, WebM */
    {4, "ftyp", 4, NULL},                             /* MP4, M4A, 3GP, MOV */
    {4, "moov", 4, NULL},                             /* QuickTime of old */
    {4, "mdat", 4, NULL},
    {4, "wide", 4, NULL},
    {4, "free", 4, NULL},
    {4, "skip", 4, NULL},
    {4, "pnot", 4, NULL},
    {0, "MAC ", 4, NULL}, /* Monkey's Audio */
    {0, "wvpk", 4, NULL}, /* WavPack */
    {0, "TTA1", 4, NULL},
    {0, "MPCK", 4, NULL}, /* Musepack */
    {0, "MP+", 3, NULL},
    {0, "#!AMR", 5, NULL},
    {0, "DSD ", 4, NULL}, /* DSF */
    {0, ".RMF", 4, NULL}, /* RealMedia */
    {0, "FLV\x01", 4, NULL},
    {0, "\x0b\x77", 2, NULL},         /* AC-3, E-AC-3 */
    {0, "\x7f\xfe\x80\x01", 4, NULL}, /* DTS */
    {0, "\x00\x00\x01\xba", 4, NULL}, /* MPEG programme stream */
};

static bool has(const unsigned char *bytes, size_t size, size_t at, const char *magic,
                size_t length) {
    return size >= at + length && memcmp(bytes + at, magic, length) == 0;
}

/* Whether this is the header of a frame of MPEG audio, layers I to III, or of AAC in ADTS. */
static bool is_frame(const unsigned char *bytes, size_t size) {
    if (size < 4 || bytes[0] != 0xff || (bytes[1] & 0xe0) != 0xe0)
        return false;
    const int version = bytes[1] >> 3 & 3, layer = bytes[1] >> 1 & 3;
    if (layer == 0) /* ADTS: 12 bits of sync, 13 sampling rates */
        return (bytes[1] & 0xf6) == 0xf0 && (bytes[2] >> 2 & 15) < 13;
    if (bytes[1] == 0xfe && bytes[3] == 0) /* text in UTF-16 is more likely than layer I */
        return false;
    return version != 1 && bytes[2] >> 4 != 15 && (bytes[2] >> 2 & 3) != 3;
}

static bool is_transport_stream(const unsigned char *bytes, size_t size) {
    return size > 2 * TS_PACKET_BYTES && bytes[0] == 0x47 && bytes[TS_PACKET_BYTES] == 0x47 &&
           bytes[2 * TS_PACKET_BYTES] == 0x47;
}

bool ms_sniff_is_media(const void *song, size_t size) {
    const unsigned char *bytes = song;
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const size_t at = signatures[i].at;
        if (has(bytes, size, at, signatures[i].magic, signatures[i].size) &&
            (signatures[i].rest == NULL || has(bytes, size, at + 8, signatures[i].rest, 4)))
            return true;
    }
    size_t padding = 0;
    while (padding < size && padding < MAX_PADDING_BYTES && bytes[padding] == 0)
        padding++;
    return is_frame(bytes + padding, size - padding) || is_transport_stream(bytes, size);
}
