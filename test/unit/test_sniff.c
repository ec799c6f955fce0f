/* How songs begin, and what does not begin like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sniff.h"

struct beginning {
    const char *name;
    const char *bytes;
    size_t size;
};
#define BEGINS(name, text) {name, text, sizeof text - 1}

static const struct beginning songs[] = {
    BEGINS("MP3 with a tag", "ID3\x03\0\0\0\0\0\0"),
    BEGINS("MP3, MPEG-1 layer III", "\xff\xfb\x90\x44"),
    BEGINS("MP3, MPEG-2 layer III", "\xff\xf3\x40\xc4"),
    BEGINS("MP3, MPEG-2.5", "\xff\xe3\x40\xc4"),
    BEGINS("MP2", "\xff\xfd\x90\x04"),
    BEGINS("MP3 after zeros", "\0\0\0\0\0\0\0\xff\xfb\x90\x44"),
    BEGINS("AAC in ADTS", "\xff\xf1\x50\x80\x1f\xfc"),
    BEGINS("WAV", "RIFF\x24\0\0\0WAVEfmt "),
    BEGINS("RF64", "RF64\xff\xff\xff\xffWAVEds64"),
    BEGINS("W64", "riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),
    BEGINS("AVI", "RIFF\x24\0\0\0AVI LIST"),
    BEGINS("FLAC", "fLaC\0\0\0\x22"),
    BEGINS("Ogg", "OggS\0\x02"),
    BEGINS("M4A", "\0\0\0\x20"
                  "ftypM4A "),
    BEGINS("QuickTime", "\0\0\0\x08"
                        "wide\0\0\0\0mdat"),
    BEGINS("AIFF", "FORM\0\0\0\x40"
                   "AIFFCOMM"),
    BEGINS("AIFC", "FORM\0\0\0\x40"
                   "AIFCFVER"),
    BEGINS("WMA", "\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"),
    BEGINS("Matroska, WebM", "\x1a\x45\xdf\xa3\x01\0\0\0"),
    BEGINS("CAF", "caff\0\x01\0\0"),
    BEGINS("AU", ".snd\0\0\0\x18"),
    BEGINS("WavPack", "wvpk\x10\0\0\0"),
    BEGINS("Monkey's Audio", "MAC \x96\x0f"),
    BEGINS("AC-3", "\x0b\x77\x12\x34"),
};

static const struct beginning others[] = {
    BEGINS("nothing", ""),
    BEGINS("one byte", "\xff"),
    BEGINS("text", "hello, this is text"),
    BEGINS("HTML", "<!DOCTYPE html><html></html>"),
    BEGINS("JSON", "{\"mp3\": \"AAAA\"}"),
    BEGINS("PDF", "%PDF-1.7\n1 0 obj"),
    BEGINS("ZIP", "PK\x03\x04\x14\0\0\0\x08\0\0\0"),
    BEGINS("gzip", "\x1f\x8b\x08\0\0\0\0\0"),
    BEGINS("PNG", "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
    BEGINS("JPEG", "\xff\xd8\xff\xe0\0\x10JFIF"),
    BEGINS("GIF", "GIF89a\x01\0\x01\0"),
    BEGINS("WebP", "RIFF\x24\0\0\0WEBPVP8 "),
    BEGINS("ELF", "\x7f"
                  "ELF\x02\x01\x01\0\0\0\0\0"),
    BEGINS("UTF-16", "\xff\xfeh\0i\0"),
    BEGINS("all ones", "\xff\xff\xff\xff\xff\xff\xff\xff"),
    BEGINS("cut tag of WAV", "RIFF\x24\0\0\0WAV"),
    BEGINS("reserved version", "\xff\xeb\x90\x44"),
    BEGINS("reserved rate", "\xff\xfb\x9c\x44"),
    BEGINS("half a frame", "\xff\xfb\x90"),
};

static void knows_how_songs_begin(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof songs / sizeof *songs; i++)
        if (!ms_sniff_is_media(songs[i].bytes, songs[i].size))
            fail_msg("%s is not taken", songs[i].name);
}

static void refuses_what_begins_otherwise(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (ms_sniff_is_media(others[i].bytes, others[i].size))
            fail_msg("%s is taken", others[i].name);
}

static void looks_past_zeros_and_at_packets(void **state) {
    static unsigned char bytes[70000];
    (void)state;
    assert_false(ms_sniff_is_media(bytes, 4096));
    assert_false(ms_sniff_is_media(bytes, sizeof bytes));
    memcpy(bytes + sizeof bytes - 4, "\xff\xfb\x90\x44", 4); /* too far in */
    assert_false(ms_sniff_is_media(bytes, sizeof bytes));
    bytes[0] = bytes[188] = 0x47; /* a transport stream */
    assert_false(ms_sniff_is_media(bytes, 376));
    bytes[376] = 0x47;
    assert_true(ms_sniff_is_media(bytes, 1000));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_how_songs_begin),
        cmocka_unit_test(refuses_what_begins_otherwise),
        cmocka_unit_test(looks_past_zeros_and_at_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
