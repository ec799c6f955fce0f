/* Linear layers after a norm, by blocks of positions (cpu.h). Runs on the session's thread. */
#include "cpu.h"

/* A block's activations should stay in the second-level cache. Between its positions a line of the
 * cache is left free: at distances of a power of two they would push each other out of the first
 * level. */
#define BLOCK INT64_C(144)
#define GAP_BYTES INT64_C(64)

struct block { /* [positions of the block][channels] and the gap */
    void *values;
    int64_t bytes; /* of a value: bfloat16 or float */
    int64_t column;
};

/* What f takes. */
static struct block block_of(const struct ms_cpu_filter *f, char *scratch, size_t *used) {
    const int64_t bytes = f->shape.bf16 ? 2 : 4, column = f->shape.in + GAP_BYTES / bytes;
    return (struct block){
        .values = ms_piece(scratch, used, (size_t)(BLOCK * column * bytes)),
        .bytes = bytes,
        .column = column,
    };
}

/* y, y_column, y_bf16 and gamma as in ms_product. */
static void multiply(const struct ms_cpu_filter *f, const struct block *x, int64_t positions,
                     const float *gamma, void *y, int64_t y_column, bool y_bf16) {
    struct ms_product p = ms_cpu_product(f, x->values, 1, positions, y, 1, positions);
    p.x_column = x->column;
    p.gamma = gamma;
    p.y_bf16 = y_bf16;
    p.y_column = y_column;
    f->kernels->product(&p);
}

/* What f takes of x: norm(x). room: [in] floats, used where f takes bfloat16. */
static void norm_block(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *f,
                       const float *x, int64_t positions, float *room, const struct block *to) {
    const int64_t in = f->shape.in;
    for (int64_t n = 0; n < positions; n++, x += in) {
        void *y = (char *)to->values + n * to->column * to->bytes;
        f->kernels->layer_norm(x, 1, in, norm->weight, norm->bias, f->shape.bf16 ? room : y);
        if (f->shape.bf16)
            f->kernels->to_bf16(room, y, in);
    }
}

/* The scratch memory of a linear layer. */
struct rooms {
    float *room;
    struct block taken, hidden;
};

static size_t lay_out(struct rooms *r, const struct ms_cpu_filter *first,
                      const struct ms_cpu_filter *second, void *scratch) {
    size_t used = 0;
    r->room = ms_piece(scratch, &used, (size_t)first->shape.in * sizeof(float));
    r->taken = block_of(first, scratch, &used);
    if (second != NULL)
        r->hidden = block_of(second, scratch, &used);
    return used;
}

size_t ms_cpu_linear_scratch(const struct ms_cpu_filter *f) {
    struct rooms r;
    return lay_out(&r, f, NULL, NULL);
}

void ms_cpu_linear(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *f, const float *x,
                   int64_t positions, float *y, void *scratch) {
    const int64_t results = ms_filter_results(&f->shape);
    struct rooms r;
    (void)lay_out(&r, f, NULL, scratch);
    for (int64_t from = 0; from < positions; from += BLOCK) {
        const int64_t left = positions - from, count = left < BLOCK ? left : BLOCK;
        norm_block(norm, f, x + from * f->shape.in, count, r.room, &r.taken);
        multiply(f, &r.taken, count, NULL, y + from * results, results, false);
    }
}

size_t ms_cpu_feed_forward_scratch(const struct ms_cpu_filter *first,
                                   const struct ms_cpu_filter *second) {
    struct rooms r;
    return lay_out(&r, first, second, NULL);
}

void ms_cpu_feed_forward(const struct ms_cpu_norm *norm, const struct ms_cpu_filter *first,
                         const struct ms_cpu_filter *second, const float *gamma, float *x,
                         int64_t positions, void *scratch) {
    const int64_t channels = first->shape.in;
    struct rooms r;
    (void)lay_out(&r, first, second, scratch);
    for (int64_t from = 0; from < positions; from += BLOCK, x += BLOCK * channels) {
        const int64_t left = positions - from, count = left < BLOCK ? left : BLOCK;
        norm_block(norm, first, x, count, r.room, &r.taken);
        multiply(first, &r.taken, count, NULL, r.hidden.values, r.hidden.column,
                 second->shape.bf16);
        multiply(second, &r.hidden, count, gamma, x, channels, false);
    }
}
