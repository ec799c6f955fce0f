/* Products against their definition, in double: rounding of float sums is allowed for, 1e-6 of
 * the sum of the terms' magnitudes (and of 1), by Winograd's way 2e-5. Operands of bfloat16
 * products are rounded here too, so that they need no more. */
#include "kernels_test.h"

struct shape {
    const char *what;
    int64_t rows, width, out_rows, out_width, depth, results;
    int kernel_rows, kernel_columns, dilation, pad_row, pad_column;
    int64_t stride_row, stride_column;
    enum ms_activation activation;
    bool bf16, gamma, scale, sums;
    bool winograd;
    bool transposed; /* weights as [depth][out][taps] */
    int64_t gap,
        margin; /* floats between results, and at the end of rows, that are not to be touched */
};

struct data {
    int64_t out, y_count;
    float *x, *weights, *scale, *shift, *gamma, *before, *y;
    struct ms_weight_layout layout;
    struct ms_packed packed;
    struct ms_product product;
    double sums[2 * 64], sums_wanted[2 * 64], sums_allowed[2 * 64];
};

static void fill_product(const struct shape *s, struct data *d) {
    const int taps = s->kernel_rows * s->kernel_columns;
    d->product = (struct ms_product){
        .x = d->x,
        .w = &d->packed,
        .rows = s->rows,
        .width = s->width,
        .out_rows = s->out_rows,
        .out_width = s->out_width,
        .stride_row = s->stride_row,
        .stride_column = s->stride_column,
        .scale = s->scale ? d->scale : NULL,
        .shift = d->shift,
        .activation = s->activation,
        .gamma = s->gamma ? d->gamma : NULL,
        .y = d->y,
        .y_column = s->results + s->gap,
        .y_row = s->out_width * (s->results + s->gap) + s->margin,
        .sums = s->sums ? d->sums : NULL,
    };
    for (int t = 0; t < taps; t++)
        d->product.tap[t] = (struct ms_tap){
            .row = t / s->kernel_columns - s->pad_row,
            .column = t % s->kernel_columns * s->dilation - s->pad_column,
        };
}

static void make_data(const struct shape *s, struct data *d) {
    uint32_t seed = (uint32_t)(s->width * 31 + s->results * 7 + s->depth);
    const int64_t taps = s->kernel_rows * s->kernel_columns, positions = s->rows * s->width,
                  halves = s->activation == MS_ACTIVATION_GLU ? 2 : 1;
    memset(d, 0, sizeof *d);
    d->out = s->results * halves;
    d->x = random_floats(positions * s->depth, 1.0f, &seed);
    d->weights = random_floats(d->out * taps * s->depth, 1.0f, &seed);
    d->scale = random_floats(d->out, 2.0f, &seed);
    d->shift = random_floats(d->out, 2.0f, &seed);
    d->gamma = random_floats(s->results, 2.0f, &seed);
    d->layout = s->transposed ? (struct ms_weight_layout){d->weights, taps, 1, d->out * taps}
                              : (struct ms_weight_layout){d->weights, s->depth * taps, 1, taps};
    d->y_count = s->out_rows * (s->out_width * (s->results + s->gap) + s->margin);
    d->before = random_floats(d->y_count, 1.0f, &seed);
    d->y = floats(d->y_count);
    memcpy(d->y, d->before, (size_t)d->y_count * sizeof *d->y);
    void *zeros = floats(s->depth);
    memset(zeros, 0, (size_t)s->depth * sizeof(float));
    d->packed = (struct ms_packed){
        .out = d->out,
        .depth = s->depth,
        .taps = (int)taps,
        .glu = s->activation == MS_ACTIVATION_GLU,
        .bf16 = s->bf16,
        .winograd = s->winograd,
        .zeros = zeros,
    };
    d->packed.values = room(kernels->packed_bytes(&d->packed));
    kernels->pack(&d->packed, &d->layout);
    fill_product(s, d);
    d->product.scratch = room(kernels->product_bytes(&d->packed));
    assert_true(s->out_rows * 2 <= (int64_t)COUNT_OF(d->sums));
    for (int64_t i = 0; i < 2 * s->out_rows; i++)
        d->sums[i] = d->sums_wanted[i] = (double)i; /* they are added to */
}

static void drop_data(struct data *d) {
    void *all[] = {d->x,      d->weights, d->scale,         d->shift,          d->gamma,
                   d->before, d->y,       d->packed.values, d->product.scratch};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]);
    free((void *)(uintptr_t)d->packed.zeros);
}

/* Winograd's way rounds what comes of its transforms, not what it takes. */
static bool takes_halves(const struct shape *s) {
    return s->bf16 && !s->winograd;
}

/* Before the activation, and how much its rounding may be: of output o at one position. */
static double sum_at(const struct shape *s, const struct data *d, int64_t row, int64_t column,
                     int64_t o, double *allowed) {
    const bool halves = takes_halves(s);
    double sum = 0.0, magnitude = 0.0;
    for (int t = 0; t < s->kernel_rows * s->kernel_columns; t++) {
        const int64_t in_row = row * s->stride_row + t / s->kernel_columns - s->pad_row,
                      in = column * s->stride_column + t % s->kernel_columns * s->dilation -
                           s->pad_column;
        if (in_row < 0 || in_row >= s->rows || in < 0 || in >= s->width)
            continue;
        for (int64_t i = 0; i < s->depth; i++) {
            const float w = d->weights[o * d->layout.out + t * d->layout.tap + i * d->layout.in],
                        x = d->x[(in_row * s->width + in) * s->depth + i];
            const double term = (double)rounded(w, halves) * (double)rounded(x, halves);
            sum += term;
            magnitude += fabs(term);
        }
    }
    const double scale = s->scale ? (double)d->scale[o] : 1.0;
    const double share = s->winograd ? s->bf16 ? 0.02 : 2e-5 : 1e-6;
    *allowed = share * (1.0 + magnitude * fabs(scale) + fabs((double)d->shift[o]));
    return sum * scale + (double)d->shift[o];
}

static void check_value(const struct shape *s, struct data *d, int64_t row, int64_t column,
                        int64_t o) {
    double allowed, value = sum_at(s, d, row, column, o, &allowed);
    d->sums_wanted[2 * row] += value;
    d->sums_wanted[2 * row + 1] += value * value;
    d->sums_allowed[2 * row] += allowed;
    d->sums_allowed[2 * row + 1] += allowed * (1.0 + 2.0 * fabs(value));
    if (s->activation == MS_ACTIVATION_GELU) {
        value = gelu(value);
    } else if (s->activation == MS_ACTIVATION_GLU) {
        double of_gate;
        const double gate = sum_at(s, d, row, column, o + s->results, &of_gate);
        allowed += fabs(value) * of_gate;
        value *= sigmoid(gate);
    }
    const int64_t at =
        row * d->product.y_row + column * d->product.y_column + o; /* what is left is untouched */
    if (s->gamma) {
        allowed = allowed * fabs((double)d->gamma[o]) + 1e-6;
        value = (double)d->before[at] + (double)d->gamma[o] * value;
    }
    assert_near((double)d->y[at], value, allowed, s->what, at);
    d->y[at] = d->before[at];
}

static void check(const struct shape *s) {
    struct data d;
    make_data(s, &d);
    uint16_t *halves = NULL;
    if (takes_halves(s)) {
        const int64_t count = s->rows * s->width * s->depth;
        halves = room((size_t)count * sizeof *halves);
        for (int64_t i = 0; i < count; i++)
            halves[i] = nearest_bf16(d.x[i]);
        d.product.x = halves;
    }
    kernels->product(&d.product);
    for (int64_t row = 0; row < s->out_rows; row++)
        for (int64_t column = 0; column < s->out_width; column++)
            for (int64_t o = 0; o < s->results; o++)
                check_value(s, &d, row, column, o);
    assert_memory_equal(d.y, d.before, (size_t)d.y_count * sizeof *d.y);
    for (int64_t i = 0; s->sums && i < 2 * s->out_rows; i++)
        assert_near(d.sums[i], d.sums_wanted[i], d.sums_allowed[i], s->what, i);
    free(halves);
    drop_data(&d);
}

/* In float32, and in bfloat16 where the depth is even. */
static void check_both(struct shape s) {
    s.bf16 = false;
    check(&s);
    s.bf16 = true;
    if (s.depth % 2 == 0)
        check(&s);
}

/* With each activation, with and without what may be added to it. */
static void check_all(struct shape s) {
    for (int a = MS_ACTIVATION_NONE; a <= MS_ACTIVATION_GLU; a++)
        for (int with = 0; with < 3; with++) {
            s.activation = (enum ms_activation)a;
            s.gamma = with >= 1;
            s.scale = with == 2;
            check_both(s);
        }
}

static struct shape line(const char *what, int64_t width, int64_t depth, int64_t results) {
    return (struct shape){
        .what = what,
        .rows = 1,
        .width = width,
        .out_rows = 1,
        .out_width = width,
        .depth = depth,
        .results = results,
        .kernel_rows = 1,
        .kernel_columns = 1,
        .dilation = 1,
        .stride_row = 1,
        .stride_column = 1,
    };
}

static const int64_t results[] = {1, 2, 5, 6, 8, 9, 12, 16, 17, 24, 32, 33, 48, 100};
static const int64_t depths[] = {1, 2, 3, 7, 10, 64, 65};

void product_of_one_tap(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(results); i++)
        check_all(line("outputs", 13, 10, results[i]));
    for (size_t i = 0; i < COUNT_OF(depths); i++)
        check_all(line("depth", 5, depths[i], 9));
    for (int64_t width = 1; width <= 26; width++)
        check_both(line("width", width, 4, 17));
}

void product_of_many_taps(void **state) {
    (void)state;
    struct shape s = line("3 taps", 19, 6, 33);
    s.kernel_columns = 3;
    s.pad_column = 1;
    check_all(s);
    s.what = "3 x 3 taps, transposed weights";
    s.rows = s.out_rows = 4;
    s.kernel_rows = 3;
    s.pad_row = 1;
    s.transposed = true;
    check_all(s);
    s = line("as many taps as may be", 40, 2, 5);
    s.kernel_rows = 2;
    s.rows = s.out_rows = 2;
    s.kernel_columns = MS_TAPS_MAX / 2;
    s.pad_column = 20;
    check_all(s);
}

/* Groups of four, tiles and blocks of them, each with a rest; edges on all sides. */
void product_by_winograd(void **state) {
    (void)state;
    for (int kernel_rows = 1; kernel_rows <= 5; kernel_rows += 2) {
        struct shape s = line("three columns by Winograd", 22, 6, 33);
        s.winograd = true;
        s.kernel_rows = kernel_rows;
        s.kernel_columns = 3;
        s.pad_row = kernel_rows / 2;
        s.pad_column = 1;
        s.rows = s.out_rows = kernel_rows + 1;
        check_all(s);
        for (int64_t width = 1; width <= 9; width++) {
            s.width = s.out_width = width;
            check_both(s);
        }
        s.depth = 7;
        check_both(s);
        s.what = "three columns by Winograd, several blocks";
        s.rows = s.out_rows = 2;
        s.width = s.out_width = 900;
        s.results = 3;
        check_both(s);
    }
}

void product_with_strides_and_dilation(void **state) {
    (void)state;
    for (int stride = 2; stride <= 4; stride++) {
        struct shape s = line("stride of columns", 37, 6, 12);
        s.kernel_columns = 8;
        s.pad_column = 2;
        s.stride_column = stride;
        s.out_width = (37 + stride - 1) / stride;
        check_both(s);
        s = line("stride of rows", 7, 6, 12);
        s.rows = 13;
        s.kernel_rows = 8;
        s.pad_row = 2;
        s.stride_row = stride;
        s.out_rows = (13 + stride - 1) / stride;
        check_both(s);
        s = line("dilation", 29, 6, 12);
        s.kernel_columns = 3;
        s.dilation = s.pad_column = stride;
        check_both(s);
    }
}

/* Of the whole input one position, or none, is within reach. */
void product_beyond_the_edges(void **state) {
    (void)state;
    struct shape s = line("one position", 1, 6, 17);
    s.kernel_columns = 5;
    s.pad_column = 2;
    check_all(s);
    s.what = "more outputs than inputs";
    s.kernel_rows = 5;
    s.pad_row = 4;
    s.out_rows = 9;
    s.out_width = 15;
    s.pad_column = 7;
    check_both(s);
    s.what = "nothing but zeros";
    s.pad_column = 100;
    s.scale = true;
    check_both(s);
}

/* More tiles than are taken at a time: by number, and by the memory that their inputs take. */
void product_of_several_blocks(void **state) {
    (void)state;
    struct shape s = line("number of tiles", 2100, 2, 3);
    check_both(s);
    s = line("memory of tiles", 130, 768, 3);
    check_both(s);
    s.kernel_columns = 3;
    s.pad_column = 1;
    check_both(s);
}

void product_into_spaced_outputs(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        struct shape s = line("spaced", 14, 4, results[i]);
        s.rows = s.out_rows = 2;
        s.gap = 3 * results[i] + 1;
        s.margin = 7;
        check_all(s);
    }
}

void product_with_sums(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        struct shape s = line("sums", 27, 10, results[i]);
        s.rows = s.out_rows = 3;
        s.kernel_columns = 3;
        s.pad_column = 1;
        s.sums = true;
        check_both(s);
        s.scale = true;
        check_both(s);
    }
}
