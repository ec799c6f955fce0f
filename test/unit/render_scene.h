/* What the tests of renders share: a job whose four stems lie in a store in a folder, kept as FLAC
 * and as MP3, and readers of what is made of them. */
#ifndef MSAAS_TEST_RENDER_SCENE_H
#define MSAAS_TEST_RENDER_SCENE_H

#include "audio_tools.h"

#include "msaas/digest.h"
#include "msaas/render.h"

#define FRAMES 300007
#define STEMS 4

extern const char *const names[STEMS];
extern const double kept_gains[STEMS];
extern struct clip stems[STEMS]; /* as they are kept */
extern struct ms_job job;
extern struct ms_store *store;
extern struct ms_store_options store_options;
extern struct ms_renders *renders;

/* Of a group of tests. */
int scene_begin(void **state);
int scene_end(void **state);

struct ms_render *open_render(const struct ms_render_plan *plan);
/* Into the file "out", in pieces of odd sizes. Returns the code of the end. */
int read_render(const struct ms_render_plan *plan, struct ms_error *err);
void must_read(const struct ms_render_plan *plan, struct clip *clip);
void plan_of(int stem, const char *format, const char *clip, struct ms_render_plan *plan);
void put_damaged(const char *key, const void *bytes, size_t size);

#endif
