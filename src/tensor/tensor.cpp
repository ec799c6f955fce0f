/* Pools and tensors: libtorch keeps them, behind a C header. Below the network; a pool owns its
 * tensors and filters, and serves its session's thread. */
#include <ATen/Parallel.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <string>

#include "pool.hpp"

namespace {

/* Addresses for one lane's activations; several times what the published networks take for a
 * segment. What a large batch needs beyond comes from the heap. */
constexpr size_t ARENA_BYTES = size_t{4} << 30;

/* Of the pool whose operator runs on this thread. */
thread_local ms_arena *current_arena = nullptr;

/* Tensors that operators of a pool with an arena make lie there, all others on the heap. The
 * overloads are those of libtorch 1.13 and 2.6; each release calls the ones that it declares. */
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

at::IntArrayRef sizes(int dims, const int64_t *shape) {
    return {shape, static_cast<size_t>(dims)};
}

} // namespace

arena_scope::arena_scope(const ms_pool *p) {
    current_arena = p->arena;
}

arena_scope::~arena_scope() {
    current_arena = nullptr;
}

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
        const int rc = check_kernels(err);
        if (rc != 0)
            return rc;
        const at::Device where{std::string(device)};
        if (!where.is_cpu() && !(where.is_cuda() && at::hasCUDA()))
            return ms_error_about(err, MS_EUNSUPPORTED, device,
                                  "this device is not available in this build or on this machine");
        *out = new ms_pool(where, own);
        return 0;
    } catch (const std::bad_alloc &) {
        return ms_error_about(err, MS_ENOMEM, device, "the device is out of memory");
    } catch (const std::exception &) {
        return ms_error_about(err, MS_EUSAGE, device, "no such device (cpu, cuda or cuda:N)");
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

bool ms_pool_has_fast_bf16(const ms_pool *pool) {
    return pool->own && ms_kernels_get()->fast_bf16;
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
    return ms_error_copy(err, &pool->error);
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

/* ---- in, out, shape ---- */

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

ms_tensor *ms_tensor_reshape(ms_pool *p, const ms_tensor *x, int dims, const int64_t *shape) {
    return op(p, "reshape", {x}, [&] { return x->value.reshape(sizes(dims, shape)); });
}

ms_tensor *ms_tensor_permute(ms_pool *p, const ms_tensor *x, int dims, const int64_t *order) {
    return op(p, "permute", {x}, [&] { return x->value.permute(sizes(dims, order)).contiguous(); });
}

ms_tensor *ms_tensor_narrow(ms_pool *p, const ms_tensor *x, int dim, int64_t start,
                            int64_t length) {
    return op(p, "narrow", {x}, [&] { return x->value.narrow(dim, start, length); });
}

ms_tensor *ms_tensor_share(ms_pool *p, const ms_tensor *x) {
    return op(p, "share", {x}, [&] { return x->value; });
}

ms_tensor *ms_tensor_clone(ms_pool *p, const ms_tensor *x) {
    return op(p, "clone", {x}, [&] { return x->value.clone(); });
}
