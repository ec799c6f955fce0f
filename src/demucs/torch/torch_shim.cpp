/* libtorch behind a C header. Below the network; owns the tensors of its pools; each pool on its session's thread. */
#include "torch_shim.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <cmath>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <new>
#include <stdexcept>

#include "arena.h"
#include "kernels/gemm.h"

struct ms_tensor {
    at::Tensor value;
    int64_t made; /* running number within the pool */
    std::list<ms_tensor>::iterator self;
};

struct ms_pool {
    at::Device device;
    std::list<ms_tensor> tensors; /* newest first */
    int64_t made = 0;
    ms_error error{};
    ms_arena *arena =
        nullptr; /* of a session's pool on the CPU, where there were addresses for it */
    explicit ms_pool(const at::Device &where) : device(where) {
    }
    ~ms_pool() {
        tensors.clear();
        ms_arena_delete(arena);
    }
    ms_pool(const ms_pool &) = delete;
    ms_pool &operator=(const ms_pool &) = delete;
};

namespace {

/* Attention: rows of scores that are held at a time, a block that stays in the cache. */
constexpr int64_t QUERY_BLOCK = 192;

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

ms_matrix matrix(const at::Tensor &x, int row_dim) {
    return {x.data_ptr<float>(), x.stride(row_dim)};
}

/* c = alpha * a * b + beta * c; all are matrices whose rows (b: rows or columns) are contiguous. */
void product(at::Tensor c, const at::Tensor &a, const at::Tensor &b, float alpha, float beta) {
    if (!c.is_cpu()) {
        at::addmm_out(c, c, a, b, beta, alpha);
        return;
    }
    const bool transposed = b.stride(0) == 1 && b.stride(1) != 1;
    if (!ms_gemm(a.size(0), b.size(1), a.size(1), alpha, matrix(a, 0),
                 matrix(b, transposed ? 1 : 0), transposed, beta, matrix(c, 0)))
        throw std::runtime_error("oneDNN refuses this product");
}

/* x [tokens][in], weight [out][in] */
at::Tensor linear(const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias) {
    at::Tensor y = bias.expand({x.size(0), weight.size(0)}).contiguous();
    product(y, x.contiguous(), weight.t(), 1.0f, 1.0f);
    return y;
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
        /* OpenBLAS keeps threads of its own; its setter is looked up because other BLAS libraries lack it. */
        using setter = void (*)(int);
        if (auto set = reinterpret_cast<setter>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads")))
            set(1);
    });
}

const char *ms_torch_version(void) {
    return TORCH_VERSION;
}

int ms_pool_new(const char *device, ms_pool **out, ms_error *err) {
    *out = nullptr;
    try {
        const at::Device where{std::string(device)};
        if (!where.is_cpu() && !(where.is_cuda() && at::hasCUDA()))
            return ms_error_set(err, MS_EUNSUPPORTED,
                                "device %s: not available in this build or on this machine",
                                device);
        *out = new ms_pool(where);
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
    *out = new (std::nothrow) ms_pool(pool->device);
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

bool ms_pool_is_cpu(const ms_pool *pool) {
    return pool->device.is_cpu();
}

int ms_pool_status(const ms_pool *pool, ms_error *err) {
    if (pool->error.code == 0)
        return 0;
    return ms_error_set(err, pool->error.code, "%s", pool->error.text);
}

void ms_drop(ms_pool *pool, ms_tensor *x) {
    if (x != nullptr)
        pool->tensors.erase(x->self);
}

int64_t ms_mark(const ms_pool *pool) {
    return pool->made;
}

ms_tensor *ms_release(ms_pool *pool, int64_t mark, ms_tensor *keep) {
    auto it = pool->tensors.begin();
    while (it != pool->tensors.end() && it->made > mark)
        it = &*it == keep ? std::next(it) : pool->tensors.erase(it);
    return keep;
}

ms_tensor *ms_from_f32(ms_pool *p, const float *data, int dims, const int64_t *shape) {
    return op(p, "from_f32", {}, [&] {
        const at::IntArrayRef sizes(shape, static_cast<size_t>(dims));
        return at::from_blob(const_cast<float *>(data), sizes, at::kFloat)
            .to(p->device, at::kFloat, false, true);
    });
}

ms_tensor *ms_from_f16(ms_pool *p, const void *data, int dims, const int64_t *shape) {
    return op(p, "from_f16", {}, [&] {
        const at::IntArrayRef sizes(shape, static_cast<size_t>(dims));
        return at::from_blob(const_cast<void *>(data), sizes, at::kHalf).to(p->device, at::kFloat);
    });
}

void ms_to_f32(ms_pool *p, const ms_tensor *x, float *out) {
    if (x == nullptr)
        return;
    guarded(p, "to_f32", [&]() -> ms_tensor * {
        at::from_blob(out, x->value.sizes(), at::kFloat).copy_(x->value);
        return nullptr;
    });
}

int ms_dims(const ms_tensor *x) {
    return x == nullptr ? 0 : static_cast<int>(x->value.dim());
}

int64_t ms_size(const ms_tensor *x, int dim) {
    return x == nullptr ? 0 : x->value.size(dim);
}

float *ms_data(ms_tensor *x) {
    if (x == nullptr || !x->value.is_cpu() || !x->value.is_contiguous())
        return nullptr;
    return x->value.data_ptr<float>();
}

ms_tensor *ms_reshape(ms_pool *p, const ms_tensor *x, int dims, const int64_t *shape) {
    return op(p, "reshape", {x},
              [&] { return x->value.reshape(at::IntArrayRef(shape, static_cast<size_t>(dims))); });
}

ms_tensor *ms_permute(ms_pool *p, const ms_tensor *x, int dims, const int64_t *order) {
    return op(p, "permute", {x},
              [&] { return x->value.permute(at::IntArrayRef(order, static_cast<size_t>(dims))); });
}

ms_tensor *ms_contiguous(ms_pool *p, const ms_tensor *x) {
    return op(p, "contiguous", {x}, [&] { return x->value.contiguous(); });
}

ms_tensor *ms_narrow(ms_pool *p, const ms_tensor *x, int dim, int64_t start, int64_t length) {
    return op(p, "narrow", {x}, [&] { return x->value.narrow(dim, start, length); });
}

ms_tensor *ms_pad_right(ms_pool *p, const ms_tensor *x, int64_t count) {
    return op(p, "pad", {x}, [&] { return at::constant_pad_nd(x->value, {0, count}); });
}

ms_tensor *ms_share(ms_pool *p, const ms_tensor *x) {
    return op(p, "share", {x}, [&] { return x->value; });
}

ms_tensor *ms_empty_like(ms_pool *p, const ms_tensor *x) {
    return op(p, "empty_like", {x},
              [&] { return at::empty_like(x->value, at::MemoryFormat::Contiguous); });
}

ms_tensor *ms_squeeze(ms_pool *p, const ms_tensor *x, int dim) {
    return op(p, "squeeze", {x}, [&] { return x->value.squeeze(dim); });
}

ms_tensor *ms_clone(ms_pool *p, const ms_tensor *x) {
    return op(p, "clone", {x}, [&] { return x->value.clone(); });
}

ms_tensor *ms_add(ms_pool *p, const ms_tensor *x, const ms_tensor *y) {
    return op(p, "add", {x, y}, [&] { return at::add(x->value, y->value); });
}

ms_tensor *ms_add_(ms_pool *p, ms_tensor *x, const ms_tensor *y) {
    return in_place(p, "add_", x, y, [&] { x->value.add_(y->value); });
}

ms_tensor *ms_addcmul_(ms_pool *p, ms_tensor *x, const ms_tensor *y, const ms_tensor *scale) {
    if (scale == nullptr)
        return nullptr;
    return in_place(p, "addcmul_", x, y, [&] { x->value.addcmul_(y->value, scale->value); });
}

ms_tensor *ms_copy_(ms_pool *p, ms_tensor *x, const ms_tensor *y) {
    return in_place(p, "copy_", x, y, [&] { x->value.copy_(y->value); });
}

ms_tensor *ms_affine_(ms_pool *p, ms_tensor *x, double scale, double offset) {
    return in_place(p, "affine_", x, x, [&] { x->value.mul_(scale).add_(offset); });
}

void ms_mean_std(ms_pool *p, const ms_tensor *x, double *mean, double *std) {
    *mean = 0;
    *std = 0;
    if (x == nullptr)
        return;
    guarded(p, "mean_std", [&]() -> ms_tensor * {
        *mean = x->value.mean().item<double>();
        *std = x->value.std().item<double>();
        return nullptr;
    });
}

ms_tensor *ms_gelu_(ms_pool *p, ms_tensor *x) {
    return in_place(p, "gelu_", x, x, [&] { at::gelu_(x->value); });
}

ms_tensor *ms_glu(ms_pool *p, const ms_tensor *x, int dim) {
    return op(p, "glu", {x}, [&] { return at::glu(x->value, dim); });
}

ms_tensor *ms_linear(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    return op(p, "linear", {x, w, b}, [&] { return linear(x->value, w->value, b->value); });
}

ms_tensor *ms_layer_norm(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    return op(p, "layer_norm", {x, w, b},
              [&] { return at::layer_norm(x->value, w->value.sizes(), w->value, b->value, 1e-5); });
}

ms_tensor *ms_token_norm_(ms_pool *p, ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    if (any_missing({w, b}))
        return nullptr;
    return in_place(p, "token_norm_", x, x, [&] {
        const auto [variance, mean] = at::var_mean(x->value, false);
        const at::Tensor scale = w->value * at::rsqrt(variance + 1e-5);
        x->value.sub_(mean).mul_(scale).add_(b->value);
    });
}

ms_tensor *ms_pointwise(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b) {
    return op(p, "pointwise", {x, w, b},
              [&] { return linear(x->value, w->value.squeeze(2), b->value); });
}

ms_tensor *ms_group_norm(ms_pool *p, const ms_tensor *x, int groups, const ms_tensor *w,
                         const ms_tensor *b) {
    return op(p, "group_norm", {x, w, b},
              [&] { return at::group_norm(x->value, groups, w->value, b->value, 1e-5); });
}

ms_tensor *ms_attention(ms_pool *p, const ms_tensor *q, const ms_tensor *k, const ms_tensor *v) {
    return op(p, "attention", {q, k, v}, [&] {
        const int64_t heads = q->value.size(0), tq = q->value.size(1), d = q->value.size(2);
        const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d)));
        at::Tensor out = at::empty({tq, heads * d}, q->value.options());
        for (int64_t head = 0; head < heads; head++) {
            const at::Tensor queries = q->value.select(0, head),
                             keys = k->value.select(0, head).t(), values = v->value.select(0, head);
            for (int64_t from = 0; from < tq; from += QUERY_BLOCK) {
                const int64_t rows = std::min(QUERY_BLOCK, tq - from);
                at::Tensor scores = at::empty({rows, keys.size(1)}, q->value.options());
                product(scores, queries.narrow(0, from, rows), keys, scale, 0.0f);
                product(out.narrow(0, from, rows).narrow(1, head * d, d), at::softmax(scores, 1),
                        values, 1.0f, 0.0f);
            }
        }
        return out;
    });
}

ms_tensor *ms_conv1d(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b,
                     int stride, int padding, int dilation) {
    return op(p, "conv1d", {x, w, b}, [&] {
        return at::conv1d(x->value, w->value, b->value, at::IntArrayRef{stride},
                          at::IntArrayRef{padding}, at::IntArrayRef{dilation});
    });
}

ms_tensor *ms_conv2d(ms_pool *p, const ms_tensor *x, const ms_tensor *w, const ms_tensor *b,
                     int stride_f, int padding_f, int padding_t) {
    return op(p, "conv2d", {x, w, b}, [&] {
        return at::conv2d(x->value, w->value, b->value, at::IntArrayRef{stride_f, 1},
                          at::IntArrayRef{padding_f, padding_t});
    });
}

ms_tensor *ms_conv_transpose1d(ms_pool *p, const ms_tensor *x, const ms_tensor *w,
                               const ms_tensor *b, int stride) {
    return op(p, "conv_transpose1d", {x, w, b}, [&] {
        return at::conv_transpose1d(x->value, w->value, b->value, at::IntArrayRef{stride});
    });
}

ms_tensor *ms_conv_transpose2d(ms_pool *p, const ms_tensor *x, const ms_tensor *w,
                               const ms_tensor *b, int stride_f) {
    return op(p, "conv_transpose2d", {x, w, b}, [&] {
        return at::conv_transpose2d(x->value, w->value, b->value, at::IntArrayRef{stride_f, 1});
    });
}

ms_tensor *ms_spectrum(ms_pool *p, const ms_tensor *x, int nfft) {
    return op(p, "spectrum", {x}, [&] {
        const int64_t channels = x->value.size(0), frames = x->value.size(1);
        const int64_t hop = nfft / 4, count = (frames + hop - 1) / hop, pad = hop / 2 * 3;
        const at::Tensor padded = at::reflection_pad1d(x->value, {pad, pad + count * hop - frames});
        const at::Tensor z =
            at::stft(padded, nfft, hop, nfft, hann(nfft, p->device), true, "reflect", true, true,
                     true); /* [channels][bins + 1][count + 4] */
        const at::Tensor kept = z.narrow(1, 0, nfft / 2).narrow(2, 2, count);
        return at::view_as_real(kept)
            .permute({0, 3, 1, 2})
            .reshape({channels * 2, nfft / 2, count});
    });
}

ms_tensor *ms_waveform(ms_pool *p, const ms_tensor *x, int nfft, int64_t frames) {
    return op(p, "waveform", {x}, [&] {
        const int64_t channels = x->value.size(0) / 2, count = x->value.size(2);
        const int64_t hop = nfft / 4, pad = hop / 2 * 3;
        const int64_t length = hop * ((frames + hop - 1) / hop) + 2 * pad;
        const at::Tensor window = hann(nfft, p->device);
        const at::Tensor parts = x->value.view({channels, 2, nfft / 2, count});
        at::Tensor out = at::empty({channels, frames}, x->value.options());
        /* One channel at a time: its temporaries are several times its size. The Nyquist bin and two frames at either
         * end come back as zeros. */
        for (int64_t channel = 0; channel < channels; channel++) {
            const at::Tensor padded = at::constant_pad_nd(parts.select(0, channel), {2, 2, 0, 1});
            const at::Tensor z = at::view_as_complex(padded.permute({1, 2, 0}).contiguous());
            out.select(0, channel)
                .copy_(at::istft(z, nfft, hop, nfft, window, true, true, true, length, false)
                           .narrow(0, pad, frames));
        }
        return out;
    });
}
