/* The room's inner contract: what a pool holds, and how an operator runs in it. */
#ifndef MSAAS_TENSOR_POOL_HPP
#define MSAAS_TENSOR_POOL_HPP

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <exception>
#include <initializer_list>
#include <list>
#include <new>
#include <utility>

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
    /* Of a session's pool on the CPU, where there were addresses for it. */
    ms_arena *arena = nullptr;
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

/* What the calling thread makes while this lives comes from the pool's arena. */
class arena_scope {
  public:
    explicit arena_scope(const ms_pool *p);
    ~arena_scope();
    arena_scope(const arena_scope &) = delete;
    arena_scope &operator=(const arena_scope &) = delete;
};

inline void fail(ms_pool *p, const char *what, const char *why) {
    if (p->error.code != 0)
        return;
    if (p->device.is_cpu())
        ms_error_set(&p->error, MS_EINTERNAL, "libtorch: %s: %s", what, why);
    else /* it may have been lost */
        ms_error_about(&p->error, MS_EUNSUPPORTED, p->device.str().c_str(), "libtorch: %s: %s",
                       what, why);
}

inline ms_tensor *keep(ms_pool *p, at::Tensor value) {
    p->tensors.emplace_front(ms_tensor{std::move(value), ++p->made, {}});
    p->tensors.front().self = p->tensors.begin();
    return &p->tensors.front();
}

/* Runs one operator: no autograd, no exception gets out, memory that ran out is told from other
 * faults. */
template <typename F> ms_tensor *guarded(ms_pool *p, const char *what, F &&body) noexcept {
    if (p->error.code != 0)
        return nullptr;
    try {
        const arena_scope in(p);
        c10::InferenceMode no_grad;
        return body();
    } catch (const std::bad_alloc &) {
        ms_error_set(&p->error, MS_ENOMEM, "libtorch: %s: out of memory", what);
    } catch (const c10::OutOfMemoryError &) {
        ms_error_set(&p->error, MS_ENOMEM, "libtorch: %s: the device is out of memory", what);
    } catch (const c10::Error &e) {
        fail(p, what, e.what_without_backtrace());
    } catch (const std::exception &e) {
        fail(p, what, e.what());
    } catch (...) {
        fail(p, what, "unknown exception");
    }
    return nullptr;
}

inline bool any_missing(std::initializer_list<const ms_tensor *> inputs) {
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

#endif
