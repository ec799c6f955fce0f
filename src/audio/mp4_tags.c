/* Tags -> the box `meta` of an MP4 file, as iTunes has it: hdlr and ilst. Owns nothing; any
 * thread. */
#include "mp4_tags.h"

#include <stdlib.h>
#include <string.h>

#include "mp4_box.h"
#include "tags.h"

enum { TEXT = 1, JPEG = 13, PNG = 14, NUMBERS = 0 }; /* of what data is */

/* In the order of ms_tags_text's numbers. */
static const struct {
    char type[5];
    int kind;
    int bytes; /* of numbers */
} items[MS_TAGS_TEXTS] = {
    {"\251nam", TEXT, 0}, {"\251ART", TEXT, 0}, {"\251alb", TEXT, 0}, {"aART", TEXT, 0},
    {"trkn", NUMBERS, 8}, {"disk", NUMBERS, 6}, {"\251day", TEXT, 0}, {"\251wrt", TEXT, 0},
    {"\251gen", TEXT, 0}, {"\251cmt", TEXT, 0}, {"\251lyr", TEXT, 0},
};

static void put_item(FILE *to, const char *type, int kind, const void *bytes, size_t size) {
    const off_t item = ms_box_begin(to, type);
    const off_t data = ms_box_begin_full(to, "data", 0, (unsigned)kind);
    ms_box_put_zeros(to, 4); /* no country */
    (void)fwrite(bytes, 1, size, to);
    ms_box_end(to, data);
    ms_box_end(to, item);
}

/* "3" or "3/12" */
static void put_numbers(FILE *to, const char *type, int size, const char *text) {
    char *rest = NULL;
    const unsigned long number = strtoul(text, &rest, 10);
    const unsigned long of = *rest == '/' ? strtoul(rest + 1, NULL, 10) : 0;
    if (number == 0 || number > UINT16_MAX || of > UINT16_MAX)
        return;
    const uint8_t bytes[8] = {
        [2] = (uint8_t)(number >> 8),
        [3] = (uint8_t)number,
        [4] = (uint8_t)(of >> 8),
        [5] = (uint8_t)of,
    };
    put_item(to, type, NUMBERS, bytes, (size_t)size);
}

void ms_mp4_put_tags(FILE *to, const struct ms_audio_tags *tags) {
    const off_t meta = ms_box_begin_full(to, "meta", 0, 0);
    const off_t hdlr = ms_box_begin_full(to, "hdlr", 0, 0);
    ms_box_put_zeros(to, 4);
    (void)fputs("mdirappl", to);
    ms_box_put_zeros(to, 9); /* two numbers, and a name of no letters */
    ms_box_end(to, hdlr);
    const off_t ilst = ms_box_begin(to, "ilst");
    for (int i = 0; i < MS_TAGS_TEXTS; i++) {
        const char *text = ms_tags_text(tags, i);
        if (text != NULL && items[i].kind == TEXT)
            put_item(to, items[i].type, TEXT, text, strlen(text));
        else if (text != NULL)
            put_numbers(to, items[i].type, items[i].bytes, text);
    }
    int size = 0;
    const uint8_t *cover = ms_tags_cover(tags, &size);
    if (cover != NULL)
        put_item(to, "covr", cover[0] == 0xff ? JPEG : PNG, cover, (size_t)size);
    ms_box_end(to, ilst);
    ms_box_end(to, meta);
}
