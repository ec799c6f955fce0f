/* libtorch behind a C header: it keeps the tensors, and computes where our own operators (cpu.h) do not: on GPUs. Below the
 * network; owns the tensors and filters of its pools; each pool on its session's thread. */
#include "tensor.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>

#include "arena.h"
#include "cpu.h"

struct ms_tensor {
    at::Tensor value;
    int64_t made; /* running number within the pool */
    std::list<ms_tensor>::iterator self;
};

/* Packed for the CPU, or as libtorch's operators take it. */
struct ms_filter {
    ms_filter_shape shape;
    ms_cpu_filter cpu{};
    at::Tensor weight, bias;
    explicit ms_filter(const ms_filter_shape &s) : shape(s) {
    }
    ~ms_filter() {
        ms_cpu_filter_fini(&cpu);
    }
    ms_filter(const ms_filter &) = delete;
    ms_filter &operator=(const ms_filter &) = delete;
};

struct ms_pool {
    at::Device device;
    bool own;                     /* the operators are those of cpu.h */
    std::list<ms_tensor> tensors; /* newest first */
    std::list<ms_filter> filters;
    ms_fourier *fourier = nullptr; /* made with the first spectrum */
    int64_t made = 0;
    ms_error error{};
    ms_arena *arena =
        nullptr; /* of a session's pool on the CPU, where there were addresses for it */
    ms_pool(const at::Device &where, bool own_operators)
        : device(where), own(own_operators && where.is_cpu()) {
    }
    ~ms_pool() {
        tensors.clear();
        ms_fourier_free(fourier);
        ms_arena_delete(arena);
    }
    ms_pool(const ms_pool &) = delete;
    ms_pool &operator=(const ms_pool &) = delete;
};

namespace {

/* Addresses for one lane's activations; several times what the published networks take. */
constexpr size_t ARENA_BYTES = size_t{4} << 30;

/* Of the pool whose operator runs on this thread. */
thread_local ms_arena *current_arena = nullptr;

/* Tensors that operators of a pool with an arena make lie there, all others on the heap. The overloads are those of
 * libtorch 1.13 and 2.6; each release calls the ones that it declares. */
class arena_allocator final : public c10::Allocator {
  public:
    c10::DataPtr allocate(size_t bytes) const {
        void *block = nullptr;
        if (bytes > 0 && (block = ms_arena_alloc(current_arena, bytes)) == nullptr)
            throw std::bad_alloc();
        return {block, block, ms_arena_free, c10::Device(c10::DeviceType::CPU)};
    }
    c10::DataPtr allocate(size_t bytes) {
        return static_cast<const arena_allocator *>(this)->allocate(bytes);
    }
    c10::DeleterFnPtr raw_deleter() const {
        return ms_arena_free;
    }
    void copy_data(void *to, const void *from, size_t bytes) const {
        std::memcpy(to, from, bytes);
    }
};
arena_allocator allocator;

class arena_scope {
  public:
    explicit arena_scope(const ms_pool *p) {
        current_arena = p->arena;
    }
    ~arena_scope() {
        current_arena = nullptr;
    }
    arena_scope(const arena_scope &) = delete;
    arena_scope &operator=(const arena_scope &) = delete;
};

void fail(ms_pool *p, const char *what, const char *why) {
    if (p->error.code == 0)
        ms_error_set(&p->error, MS_EINTERNAL, "libtorch: %s: %s", what, why);
}

ms_tensor *keep(ms_pool *p, at::Tensor value) {
    p->tensors.emplace_front(ms_tensor{std::move(value), ++p->made, {}});
    p->tensors.front().self = p->tensors.begin();
    return &p->tensors.front();
}

/* Runs one operator: no autograd, no exception gets out, memory that ran out is told from other faults. */
template <typename F> ms_tensor *guarded(ms_pool *p, const char *what, F &&body) noexcept {
    if (p->error.code != 0)
        return nullptr;
    try {
        const arena_scope in(p);
        c10::InferenceMode no_grad;
        return body();
    } catch (const std::bad_alloc &) {
        ms_error_set(&p->error, MS_ENOMEM, "libtorch: %s: out of memory", what);
    } catch (const c10::Error &e) {
        fail(p, what, e.what_without_backtrace());
    } catch (const std::exception &e) {
        fail(p, what, e.what());
    } catch (...) {
        fail(p, what, "unknown exception");
    }
    return nullptr;
}

bool any_missing(std::initializer_list<const ms_tensor *> inputs) {
    for (const ms_tensor *x : inputs)
        if (x == nullptr)
            return true;
    return false;
}

template <typename F>
ms_tensor *op(ms_pool *p, const char *what, std::initializer_list<const ms_tensor *> inputs,
              F &&body) noexcept {
    if (any_missing(inputs))
        return nullptr;
    return guarded(p, what, [&] { return keep(p, body()); });
}

template <typename F>
ms_tensor *in_place(ms_pool *p, const char *what, ms_tensor *x, const ms_tensor *other,
                    F &&body) noexcept {
    if (x == nullptr || other == nullptr)
        return nullptr;
    return guarded(p, what, [&] {
        body();
        return x;
    });
}

at::IntArrayRef sizes(int dims, const int64_t *shape) {
    return {shape, static_cast<size_t>(dims)};
}

at::Tensor hann(int nfft, const at::Device &device) {
    return at::hann_window(nfft, at::TensorOptions().dtype(at::kFloat).device(device));
}

} // namespace

void ms_torch_init(void) {
    static std::once_flag once;
    std::call_once(once, [] {
        c10::SetCPUAllocator(&allocator);
        at::set_num_threads(1);
    });
}

const char *ms_torch_version(void) {
    return TORCH_VERSION;
}

namespace {

int check_kernels(ms_error *err) {
    if (ms_kernels_get() != nullptr)
        return 0;
    const char *name = std::getenv("MSAAS_KERNELS");
    std::string names;
    for (const ms_kernels *const *k = ms_kernels_list(); *k != nullptr; k++)
        names += std::string(names.empty() ? "" : ", ") + (*k)->name;
    return ms_error_set(err, MS_EUSAGE, "MSAAS_KERNELS=%s: this processor can run %s",
                        name != nullptr ? name : "", names.c_str());
}

} // namespace

int ms_pool_new(const char *device, bool own, ms_pool **out, ms_error *err) {
    *out = nullptr;
    try {
        const int status = check_kernels(err);
        if (status != 0)
            return status;
        const at::Device where{std::string(device)};
        if (!where.is_cpu() && !(where.is_cuda() && at::hasCUDA()))
            return ms_error_set(err, MS_EUNSUPPORTED,
                                "device %s: not available in this build or on this machine",
                                device);
        *out = new ms_pool(where, own);
        return 0;
    } catch (const std::bad_alloc &) {
        return ms_error_set(err, MS_ENOMEM, "device %s: out of memory", device);
    } catch (const std::exception &) {
        return ms_error_set(err, MS_EUSAGE, "device %s: no such device (cpu, cuda or cuda:N)",
                            device);
    }
}

int ms_pool_new_like(const ms_pool *pool, ms_pool **out, ms_error *err) {
    at::init_num_threads(); /* OpenMP's number of threads is each thread's own */
    *out = new (std::nothrow) ms_pool(pool->device, pool->own);
    if (*out == nullptr)
        return ms_error_set(err, MS_ENOMEM, "no memory for a tensor pool");
    if (pool->device.is_cpu())
        (*out)->arena = ms_arena_new(ARENA_BYTES);
    return 0;
}

void ms_pool_free(ms_pool *pool) {
    delete pool;
}

void ms_pool_clear(ms_pool *pool) {
    pool->tensors.clear();
    pool->error.code = 0;
}

int ms_pool_status(const ms_pool *pool, ms_error *err) {
    if (pool->error.code == 0)
        return 0;
    return ms_error_set(err, pool->error.code, "%s", pool->error.text);
}

int64_t ms_pool_mark(const ms_pool *pool) {
    return pool->made;
}

ms_tensor *ms_pool_release(ms_pool *pool, int64_t mark, ms_tensor *keep) {
    auto it = pool->tensors.begin();
    while (it != pool->tensors.end() && it->made > mark)
        it = &*it == keep ? std::next(it) : pool->tensors.erase(it);
    return keep;
}

/* ---- in, out, shape ------------------------------------------------------------------------------------------ */

void ms_tensor_drop(ms_pool *p, ms_tensor *x) {
    if (x != nullptr)
        p->tensors.erase(x->self);
}

ms_tensor *ms_tensor_from_f32(ms_pool *p, const float *data, int dims, const int64_t *shape) {
    return op(p, "from_f32", {}, [&] {
        return at::from_blob(const_cast<float *>(data), sizes(dims, shape), at::kFloat)
            .to(p->device, at::kFloat, false, true);
    });
}

ms_tensor *ms_tensor_from_f16(ms_pool *p, const void *data, int dims, const int64_t *shape) {
    return op(p, "from_f16", {}, [&] {
        return at::from_blob(const_cast<void *>(data), sizes(dims, shape), at::kHalf)
            .to(p->device, at::kFloat);
    });
}

void ms_tensor_to_f32(ms_pool *p, const ms_tensor *x, float *out) {
    if (x == nullptr)
        return;
    guarded(p, "to_f32", [&]() -> ms_tensor * {
        at::from_blob(out, x->value.sizes(), at::kFloat).copy_(x->value);
        return nullptr;
    });
}

int ms_tensor_dims(const ms_tensor *x) {
    return x == nullptr ? 0 : static_cast<int>(x->value.dim());
}

int64_t ms_tensor_size(const ms_tensor *x, int dim) {
    return x == nullptr ? 0 : x->value.size(dim);
}

ms_tensor *ms_reshape(ms_pool *p, const ms_tensor *x, int dims, const int64_t *shape) {
    return op(p, "reshape", {x}, [&] { return x->value.reshape(sizes(dims, shape)); });
}

ms_tensor *ms_permute(ms_pool *p, const ms_tensor *x, int dims, const int64_t *order) {
    return op(p, "permute", {x}, [&] { return x->value.permute(sizes(dims, order)).contiguous(); });
}

ms_tensor *ms_narrow(ms_pool *p, const ms_tensor *x, int dim, int64_t start, int64_t length) {
    return op(p, "narrow", {x}, [&] { return x->value.narrow(dim, start, length); });
}

ms_tensor *ms_share(ms_pool *p, const ms_tensor *x) {
    return op(p, "share", {x}, [&] { return x->value; });
}

ms_tensor *ms_clone(ms_pool *p, const ms_tensor *x) {
    return op(p, "clone", {x}, [&] { return x->value.clone(); });
}

/* ---- filters ------------------------------------------------------------------------------------------------------- */

namespace {

float *data(const at::Tensor &x) {
    if (!x.is_contiguous())
        throw std::runtime_error("its input is not contiguous");
    return x.data_ptr<float>();
}

const float *data(const ms_tensor *x) {
    return data(x->value);
}

void *scratch(at::Tensor *keep, size_t bytes) {
    *keep = at::empty({static_cast<int64_t>(bytes)}, at::kByte);
    return keep->data_ptr();
}

int64_t results(const ms_filter *f) {
    return f->shape.activation == MS_ACTIVATION_GLU ? f->shape.out / 2 : f->shape.out;
}

/* As operands are taken where bfloat16 is wanted. */
at::Tensor rounded(const at::Tensor &x, bool bf16) {
    return bf16 ? x.to(at::kBFloat16) : x;
}

at::Tensor channels_first(const at::Tensor &x) {
    return x.permute({0, 3, 1, 2});
}

at::Tensor channels_last(const at::Tensor &x) {
    return x.permute({0, 2, 3, 1}).contiguous();
}

/* x and the result with channels first. */
at::Tensor activated(const at::Tensor &x, ms_activation activation) {
    switch (activation) {
    case MS_ACTIVATION_GELU: return at::gelu(x);
    case MS_ACTIVATION_GLU: return at::glu(x, 1);
    case MS_ACTIVATION_NONE: break;
    }
    return x;
}

at::Tensor filtered(const at::Tensor &x, const ms_filter *f) {
    const ms_filter_shape &s = f->shape;
    const int64_t rows =
                      -x.size(1) % s.stride_rows + (x.size(1) % s.stride_rows ? s.stride_rows : 0),
                  columns = -x.size(2) % s.stride_columns +
                            (x.size(2) % s.stride_columns ? s.stride_columns : 0);
    const at::Tensor padded =
        at::constant_pad_nd(rounded(channels_first(x), s.bf16), {0, columns, 0, rows});
    return activated(at::conv2d(padded, f->weight, {}, {s.stride_rows, s.stride_columns},
                                {s.padding_rows, s.padding_columns}, {1, s.dilation})
                             .to(at::kFloat) +
                         f->bias.view({-1, 1, 1}),
                     s.activation);
}

/* Sizes come from models. Each phase of a transposed filter has a tap. */
bool is_possible(const ms_filter_shape &s) {
    const int64_t taps = int64_t{s.kernel_rows} * s.kernel_columns,
                  stride = std::max(s.stride_rows, s.stride_columns);
    if (s.in < 1 || s.out < 1 || s.kernel_rows < 1 || s.kernel_columns < 1 || taps > MS_TAPS_MAX ||
        s.stride_rows < 1 || s.stride_columns < 1 || s.dilation < 1)
        return false;
    if (s.activation == MS_ACTIVATION_GLU && (s.transposed || s.out % 2 != 0))
        return false;
    return !s.transposed || (std::min(s.kernel_rows, s.kernel_columns) == 1 && stride <= taps &&
                             stride <= MS_PHASES_MAX);
}

} // namespace

const ms_filter *ms_filter_new(ms_pool *p, const ms_filter_shape *shape, const ms_tensor *weight,
                               const ms_tensor *bias) {
    if (any_missing({weight, bias}))
        return nullptr;
    const ms_filter *made = nullptr;
    guarded(p, "filter", [&]() -> ms_tensor * {
        ms_filter_shape s = *shape;
        s.bf16 = s.bf16 && s.in % 2 == 0;
        const int64_t taps = int64_t{s.kernel_rows} * s.kernel_columns;
        if (!is_possible(s) || weight->value.numel() != s.in * s.out * taps ||
            bias->value.numel() != s.out)
            throw std::runtime_error("weights do not fit their shape");
        p->filters.emplace_back(s);
        ms_filter *f = &p->filters.back();
        if (p->own) {
            if (!ms_cpu_filter_init(&f->cpu, &s, data(weight->value.contiguous()),
                                    data(bias->value.contiguous())))
                throw std::bad_alloc();
        } else {
            const int64_t first = s.transposed ? s.in : s.out, second = s.transposed ? s.out : s.in;
            f->weight = rounded(
                weight->value.reshape({first, second, s.kernel_rows, s.kernel_columns}).clone(),
                s.bf16);
            f->bias = bias->value.clone();
        }
        made = f;
        return nullptr;
    });
    return made;
}

/* ---- operators ------------------------------------------------------------------------------------------------------- */

namespace {

/* y: the result, or what gamma times the result is added to. */
void convolve(const ms_pool *p, const at::Tensor &x, const ms_filter *f, const at::Tensor *gamma,
              at::Tensor y) {
    if (x.dim() != 4 || x.size(3) != f->shape.in)
        throw std::runtime_error("its input does not fit the filter");
    if (!p->own) {
        const at::Tensor z = channels_last(filtered(x, f));
        if (gamma != nullptr)
            y.addcmul_(z, *gamma);
        else
            y.copy_(z);
        return;
    }
    at::Tensor memory;
    void *room = scratch(&memory, ms_cpu_convolve_scratch(&f->cpu, x.size(1), x.size(2)));
    for (int64_t n = 0; n < x.size(0); n++)
        ms_cpu_convolve(&f->cpu, data(x[n]), x.size(1), x.size(2),
                        gamma != nullptr ? data(*gamma) : nullptr, data(y[n]), y.size(1), y.size(2),
                        room);
}

int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

} // namespace

ms_tensor *ms_convolve(ms_pool *p, const ms_tensor *x, const ms_filter *f) {
    if (f == nullptr)
        return nullptr;
    return op(p, "convolve", {x}, [&] {
        const at::Tensor &v = x->value;
        at::Tensor y = at::empty({v.size(0), divide_up(v.size(1), f->shape.stride_rows),
                                  divide_up(v.size(2), f->shape.stride_columns), results(f)},
                                 v.options());
        convolve(p, v, f, nullptr, y);
        return y;
    });
}

ms_tensor *ms_convolve_add_(ms_pool *p, ms_tensor *x, const ms_tensor *y, const ms_filter *f,
                            const ms_tensor *gamma) {
    if (f == nullptr || gamma == nullptr)
        return nullptr;
    return in_place(p, "convolve_add_", x, y,
                    [&] { convolve(p, y->value, f, &gamma->value, x->value); });
}

ms_tensor *ms_convolve_transposed(ms_pool *p, const ms_tensor *x, const ms_filter *f,
                                  int64_t length) {
    if (f == nullptr)
        return nullptr;
    return op(p, "convolve_transposed", {x}, [&] {
        const at::Tensor &v = x->value;
        const ms_filter_shape &s = f->shape;
        const bool along_rows = s.kernel_rows > 1;
        if (!p->own) {
            const at::Tensor whole =
                at::conv_transpose2d(rounded(channels_first(v), s.bf16), f->weight, {},
                                     {s.stride_rows, s.stride_columns});
            const at::Tensor z = whole.narrow(
                along_rows ? 2 : 3, along_rows ? s.padding_rows : s.padding_columns, length);
            return channels_last(
                activated(z.to(at::kFloat) + f->bias.view({-1, 1, 1}), s.activation));
        }
        at::Tensor y = at::empty(
            {v.size(0), along_rows ? length : v.size(1), along_rows ? v.size(2) : length, s.out},
            v.options());
        convolve(p, v, f, nullptr, y);
        return y;
    });
}

ms_tensor *ms_residual_(ms_pool *p, ms_tensor *x, const ms_residual *unit) {
    if (any_missing({unit->norm_in_weight, unit->norm_in_bias, unit->norm_out_weight,
                     unit->norm_out_bias, unit->scale}) ||
        unit->in == nullptr || unit->out == nullptr)
        return nullptr;
    return in_place(p, "residual_", x, x, [&] {
        at::Tensor v = x->value;
        const ms_filter_shape &in = unit->in->shape, &out = unit->out->shape;
        if (v.dim() != 4 || v.size(3) != in.in || in.out != out.in || out.out != 2 * in.in ||
            out.activation != MS_ACTIVATION_GLU || in.bf16 || out.bf16)
            throw std::runtime_error("its filters do not fit");
        if (!p->own) {
            /* Each row a song of its own. */
            at::Tensor rows = v.view({v.size(0) * v.size(1), 1, v.size(2), v.size(3)});
            at::Tensor y = filtered(rows, unit->in);
            y = at::gelu(
                at::group_norm(y, 1, unit->norm_in_weight->value, unit->norm_in_bias->value, 1e-5));
            y = at::conv2d(y, unit->out->weight.to(at::kFloat)) + unit->out->bias.view({-1, 1, 1});
            y = at::glu(at::group_norm(y, 1, unit->norm_out_weight->value,
                                       unit->norm_out_bias->value, 1e-5),
                        1);
            rows.addcmul_(channels_last(y), unit->scale->value);
            return;
        }
        const ms_cpu_unit own = {&unit->in->cpu,
                                 &unit->out->cpu,
                                 data(unit->norm_in_weight),
                                 data(unit->norm_in_bias),
                                 data(unit->norm_out_weight),
                                 data(unit->norm_out_bias),
                                 data(unit->scale)};
        at::Tensor memory;
        void *room = scratch(&memory, ms_cpu_residual_scratch(&own, v.size(2)));
        ms_cpu_residual(&own, data(v), v.size(0) * v.size(1), v.size(2), room);
    });
}

ms_tensor *ms_layer_norm(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    return op(p, "layer_norm", {x, w, b}, [&] {
        if (!p->own)
            return at::layer_norm(x->value, w->value.sizes(), w->value, b->value, 1e-5);
        at::Tensor y = at::empty_like(x->value);
        const int64_t channels = x->value.size(-1);
        ms_kernels_get()->layer_norm(data(x), x->value.numel() / channels, channels, data(w),
                                     data(b), data(y));
        return y;
    });
}

ms_tensor *ms_group_norm_(ms_pool *p, ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    if (any_missing({w, b}))
        return nullptr;
    return in_place(p, "group_norm_", x, x, [&] {
        at::Tensor v = x->value;
        const int64_t channels = v.size(-1);
        if (!p->own) {
            v.copy_(channels_last(
                at::group_norm(channels_first(v).contiguous(), 1, w->value, b->value, 1e-5)));
            return;
        }
        at::Tensor memory = at::empty({2 * channels}, v.options());
        for (int64_t n = 0; n < v.size(0); n++)
            ms_cpu_group_norm(data(v[n]), v[n].numel() / channels, channels, data(w), data(b),
                              data(memory));
    });
}

namespace {

/* x [batch][1][tokens][...], channels from `from` on -> [batch][heads][tokens][channels / heads] */
at::Tensor heads_of(const at::Tensor &x, int64_t from, int64_t channels, int64_t heads, bool bf16) {
    return rounded(x.squeeze(1)
                       .narrow(2, from, channels)
                       .reshape({x.size(0), x.size(2), heads, channels / heads})
                       .permute({0, 2, 1, 3}),
                   bf16);
}

} // namespace

ms_tensor *ms_attend(ms_pool *p, const ms_tensor *q, const ms_tensor *kv, int64_t k_from,
                     int64_t v_from, int64_t channels, int heads, bool bf16) {
    return op(p, "attend", {q, kv}, [&] {
        const at::Tensor &from = q->value, &to = kv->value;
        const int64_t batch = from.size(0), queries = from.size(2), depth = channels / heads;
        const double scale = 1.0 / std::sqrt(static_cast<double>(depth));
        if (!p->own) {
            const at::Tensor scores =
                at::matmul(heads_of(from, 0, channels, heads, bf16),
                           heads_of(to, k_from, channels, heads, bf16).transpose(2, 3))
                    .to(at::kFloat) *
                scale;
            return at::matmul(rounded(at::softmax(scores, 3), bf16),
                              heads_of(to, v_from, channels, heads, bf16))
                .to(at::kFloat)
                .permute({0, 2, 1, 3})
                .reshape({batch, 1, queries, channels});
        }
        at::Tensor y = at::empty({batch, 1, queries, channels}, from.options()), memory;
        ms_attention a = {};
        a.q_stride = from.size(3);
        a.k_stride = a.v_stride = to.size(3);
        a.y_stride = channels;
        a.queries = queries;
        a.keys = to.size(2);
        a.heads = heads;
        a.depth = depth;
        a.scale = static_cast<float>(scale);
        a.bf16 = bf16 && depth % 2 == 0;
        a.scratch = scratch(&memory, ms_kernels_get()->attention_bytes(&a));
        for (int64_t n = 0; n < batch; n++) {
            a.q = data(from[n]);
            a.k = data(to[n]) + k_from;
            a.v = data(to[n]) + v_from;
            a.y = data(y[n]);
            ms_kernels_get()->attention(&a);
        }
        return y;
    });
}

ms_tensor *ms_add_(ms_pool *p, ms_tensor *x, const ms_tensor *y) {
    return in_place(p, "add_", x, y, [&] {
        if (p->own && x->value.sizes() == y->value.sizes())
            ms_kernels_get()->add(data(x->value), data(y), x->value.numel());
        else
            x->value.add_(y->value);
    });
}

ms_tensor *ms_scale_(ms_pool *p, ms_tensor *x, double by) {
    return in_place(p, "scale_", x, x, [&] { x->value.mul_(by); });
}

/* ---- levels and spectra ---------------------------------------------------------------------------------------------- */

ms_tensor *ms_normalise_(ms_pool *p, ms_tensor *x) {
    return op(p, "normalise_", {x}, [&] {
        at::Tensor v = x->value.view({x->value.size(0), -1});
        at::Tensor levels = at::empty({v.size(0), 2}, v.options());
        if (!p->own) {
            levels.select(1, 0).copy_(v.mean(1));
            levels.select(1, 1).copy_(v.std(1));
            v.sub_(levels.narrow(1, 0, 1)).div_(levels.narrow(1, 1, 1) + 1e-5);
            return levels;
        }
        for (int64_t n = 0; n < v.size(0); n++) {
            double mean = 0.0, std = 0.0;
            ms_cpu_levels(data(v[n]), v.size(1), &mean, &std);
            const float scale = static_cast<float>(1.0 / (1e-5 + std)),
                        shift = static_cast<float>(-mean / (1e-5 + std));
            ms_kernels_get()->affine(data(v[n]), v.size(1), 1, &scale, &shift, MS_ACTIVATION_NONE);
            data(levels)[2 * n] = static_cast<float>(mean);
            data(levels)[2 * n + 1] = static_cast<float>(std);
        }
        return levels;
    });
}

namespace {

ms_fourier *fourier(ms_pool *p, int nfft) {
    if (p->fourier != nullptr && ms_fourier_size(p->fourier) != nfft) {
        ms_fourier_free(p->fourier);
        p->fourier = nullptr;
    }
    if (p->fourier == nullptr)
        p->fourier = ms_fourier_new(nfft);
    if (p->fourier == nullptr)
        throw std::bad_alloc();
    return p->fourier;
}

} // namespace

ms_tensor *ms_spectrum(ms_pool *p, const ms_tensor *x, int nfft) {
    return op(p, "spectrum", {x}, [&] {
        const at::Tensor &v = x->value;
        const int64_t batch = v.size(0), channels = v.size(1), frames = v.size(2);
        const int64_t hop = nfft / 4, count = divide_up(frames, hop), pad = hop / 2 * 3;
        if (!p->own) {
            const at::Tensor padded = at::reflection_pad1d(v, {pad, pad + count * hop - frames});
            const at::Tensor z = at::stft(padded.view({batch * channels, -1}), nfft, hop, nfft,
                                          hann(nfft, p->device), true, "reflect", true, true, true);
            /* [batch * channels][bins + 1][count + 4], complex */
            return at::view_as_real(z.narrow(1, 0, nfft / 2).narrow(2, 2, count))
                .view({batch, channels, nfft / 2, count, 2})
                .permute({0, 2, 3, 1, 4})
                .reshape({batch, nfft / 2, count, channels * 2});
        }
        at::Tensor y = at::empty({batch, nfft / 2, count, channels * 2}, v.options());
        at::Tensor memory;
        void *room = scratch(&memory, ms_fourier_scratch(nfft, channels));
        for (int64_t n = 0; n < batch; n++)
            ms_cpu_spectrum(fourier(p, nfft), data(v[n]), channels, frames, data(y[n]), room);
        return y;
    });
}

ms_tensor *ms_waveform(ms_pool *p, const ms_tensor *spectrum, const ms_tensor *spectrum_levels,
                       const ms_tensor *wave, const ms_tensor *wave_levels, int nfft) {
    return op(p, "waveform", {spectrum, spectrum_levels, wave, wave_levels}, [&] {
        const at::Tensor &x = spectrum->value, &w = wave->value;
        const at::Tensor &xl = spectrum_levels->value, &wl = wave_levels->value;
        const int64_t batch = x.size(0), channels = x.size(3) / 2, count = x.size(2),
                      frames = w.size(2), hop = nfft / 4, pad = hop / 2 * 3;
        at::Tensor out = w.squeeze(1).permute({0, 2, 1}).contiguous();
        out.mul_(wl.select(1, 1).view({batch, 1, 1})).add_(wl.select(1, 0).view({batch, 1, 1}));
        at::Tensor memory;
        void *room = scratch(&memory, p->own ? ms_fourier_scratch(nfft, channels) : 0);
        for (int64_t n = 0; n < batch; n++) {
            if (p->own) {
                ms_cpu_waveform(fourier(p, nfft), data(x[n]), channels, frames, data(xl)[2 * n + 1],
                                data(xl)[2 * n], data(out[n]), room);
                continue;
            }
            const at::Tensor parts = (x[n] * xl[n][1] + xl[n][0])
                                         .view({nfft / 2, count, channels, 2})
                                         .permute({2, 0, 1, 3});
            const at::Tensor z =
                at::view_as_complex(at::constant_pad_nd(parts, {0, 0, 2, 2, 0, 1}).contiguous());
            out[n].add_(at::istft(z, nfft, hop, nfft, hann(nfft, p->device), true, true, true,
                                  hop * count + 2 * pad, false)
                            .narrow(1, pad, frames));
        }
        return out;
    });
}
