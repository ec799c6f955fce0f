/* Filters and operators: our own (cpu.h) on the CPU, elsewhere, on GPUs, put together from
 * libtorch's. */
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "pool.hpp"

namespace {

at::Tensor hann(int nfft, const at::Device &device) {
    return at::hann_window(nfft, at::TensorOptions().dtype(at::kFloat).device(device));
}

} // namespace

/* ---- filters ---- */

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
    const int64_t rows = ms_divide_up(x.size(1), s.stride_rows) * s.stride_rows - x.size(1),
                  columns =
                      ms_divide_up(x.size(2), s.stride_columns) * s.stride_columns - x.size(2);
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
    if (s.measured && (taps > 1 || s.transposed || s.bf16))
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

/* ---- operators ---- */

namespace {

void check_input(const at::Tensor &x, const ms_filter *f) {
    if (x.dim() != 4 || x.size(3) != f->shape.in)
        throw std::runtime_error("its input does not fit the filter");
}

/* y: the result, or what gamma times the result is added to. */
void convolve(const at::Tensor &x, const ms_filter *f, const at::Tensor *gamma,
              const at::Tensor &y) {
    at::Tensor memory;
    void *room = scratch(&memory, ms_cpu_convolve_scratch(&f->cpu, x.size(1), x.size(2)));
    for (int64_t n = 0; n < x.size(0); n++)
        ms_cpu_convolve(&f->cpu, data(x[n]), x.size(1), x.size(2),
                        gamma != nullptr ? data(*gamma) : nullptr, data(y[n]), y.size(1), y.size(2),
                        room);
}

} // namespace

ms_tensor *ms_convolve(ms_pool *p, const ms_tensor *x, const ms_filter *f) {
    if (f == nullptr)
        return nullptr;
    return op(p, "convolve", {x}, [&] {
        const at::Tensor &v = x->value;
        check_input(v, f);
        if (!p->own)
            return channels_last(filtered(v, f));
        at::Tensor y = at::empty({v.size(0), ms_divide_up(v.size(1), f->shape.stride_rows),
                                  ms_divide_up(v.size(2), f->shape.stride_columns),
                                  ms_filter_results(&f->shape)},
                                 v.options());
        convolve(v, f, nullptr, y);
        return y;
    });
}

ms_tensor *ms_convolve_add_(ms_pool *p, ms_tensor *x, const ms_tensor *y, const ms_filter *f,
                            const ms_tensor *gamma) {
    if (f == nullptr || gamma == nullptr)
        return nullptr;
    return in_place(p, "convolve_add_", x, y, [&] {
        check_input(y->value, f);
        if (p->own)
            convolve(y->value, f, &gamma->value, x->value);
        else
            x->value.addcmul_(channels_last(filtered(y->value, f)), gamma->value);
    });
}

namespace {

void check_linear(const at::Tensor &x, const ms_filter *f) {
    check_input(x, f);
    if (f->shape.kernel_rows * f->shape.kernel_columns != 1 || f->shape.transposed)
        throw std::runtime_error("its filter is not of one row and column");
}

ms_cpu_norm norm_of(const ms_norm *norm) {
    return {data(norm->weight), data(norm->bias)};
}

at::Tensor normed(const at::Tensor &x, const ms_norm *norm) {
    return at::layer_norm(x, norm->weight->value.sizes(), norm->weight->value, norm->bias->value,
                          1e-5);
}

} // namespace

ms_tensor *ms_linear(ms_pool *p, const ms_norm *norm, const ms_tensor *x, const ms_filter *f) {
    if (f == nullptr)
        return nullptr;
    return op(p, "linear", {x, norm->weight, norm->bias}, [&] {
        const at::Tensor &v = x->value;
        check_linear(v, f);
        if (!p->own)
            return channels_last(filtered(normed(v, norm), f));
        at::Tensor y = at::empty({v.size(0), v.size(1), v.size(2), ms_filter_results(&f->shape)},
                                 v.options()),
                   memory;
        const ms_cpu_norm own = norm_of(norm);
        void *room = scratch(&memory, ms_cpu_linear_scratch(&f->cpu));
        for (int64_t n = 0; n < v.size(0); n++)
            ms_cpu_linear(&own, &f->cpu, data(v[n]), v[n].numel() / v.size(3), data(y[n]), room);
        return y;
    });
}

ms_tensor *ms_feed_forward_(ms_pool *p, const ms_norm *norm, ms_tensor *x, const ms_filter *first,
                            const ms_filter *second, const ms_tensor *gamma) {
    if (first == nullptr || second == nullptr || any_missing({norm->weight, norm->bias, gamma}))
        return nullptr;
    return in_place(p, "feed_forward_", x, x, [&] {
        at::Tensor v = x->value;
        check_linear(v, first);
        if (second->shape.in != ms_filter_results(&first->shape) ||
            ms_filter_results(&second->shape) != first->shape.in)
            throw std::runtime_error("its filters do not fit");
        if (!p->own) {
            const at::Tensor hidden = channels_last(filtered(normed(v, norm), first));
            v.addcmul_(channels_last(filtered(hidden, second)), gamma->value);
            return;
        }
        at::Tensor memory;
        const ms_cpu_norm own = norm_of(norm);
        ms_cpu_feed_forward(
            &own, &first->cpu, &second->cpu, data(gamma), data(v), v.numel() / v.size(3),
            scratch(&memory, ms_cpu_feed_forward_scratch(&first->cpu, &second->cpu)));
    });
}

ms_tensor *ms_convolve_transposed(ms_pool *p, const ms_tensor *x, const ms_filter *f,
                                  int64_t length) {
    if (f == nullptr)
        return nullptr;
    return op(p, "convolve_transposed", {x}, [&] {
        const at::Tensor &v = x->value;
        const ms_filter_shape &s = f->shape;
        const bool along_rows = s.kernel_rows > 1;
        check_input(v, f);
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
        convolve(v, f, nullptr, y);
        return y;
    });
}

namespace {

bool is_missing(const ms_layer &l) {
    bool missing = l.filter == nullptr;
    for (int i = 0; i < l.unit_count; i++) {
        const ms_residual &u = l.units[i];
        missing = missing || u.in == nullptr || u.out == nullptr ||
                  any_missing({u.norm_in_weight, u.norm_in_bias, u.norm_out_weight, u.norm_out_bias,
                               u.scale});
    }
    return missing;
}

bool fits(const ms_layer &l) {
    const int64_t channels = ms_filter_results(&l.filter->shape);
    for (int i = 0; i < l.unit_count; i++) {
        const ms_filter_shape &in = l.units[i].in->shape, &out = l.units[i].out->shape;
        if (in.in != channels || in.out != out.in || out.out != 2 * channels ||
            out.activation != MS_ACTIVATION_GLU || !out.measured)
            return false;
    }
    if (l.then != nullptr && (l.then->shape.in != channels || l.then->shape.transposed ||
                              l.then->shape.kernel_rows * l.then->shape.kernel_columns != 1))
        return false;
    return !l.filter->shape.transposed;
}

/* By libtorch; x is channels last, and each of its rows a song of its own. */
void add_residual(const at::Tensor &x, const ms_residual &u) {
    const at::Tensor rows = x.view({x.size(0) * x.size(1), 1, x.size(2), x.size(3)});
    at::Tensor y = filtered(rows, u.in);
    y = at::gelu(at::group_norm(y, 1, u.norm_in_weight->value, u.norm_in_bias->value, 1e-5));
    y = at::conv2d(y, u.out->weight) + u.out->bias.view({-1, 1, 1});
    y = at::glu(at::group_norm(y, 1, u.norm_out_weight->value, u.norm_out_bias->value, 1e-5), 1);
    rows.addcmul_(channels_last(y), u.scale->value);
}

ms_cpu_unit unit_of(const ms_residual &u) {
    return {&u.in->cpu,
            &u.out->cpu,
            data(u.norm_in_weight),
            data(u.norm_in_bias),
            data(u.norm_out_weight),
            data(u.norm_out_bias),
            data(u.scale)};
}

} // namespace

ms_tensor *ms_run_layer(ms_pool *p, const ms_tensor *x, const ms_layer *layer) {
    if (is_missing(*layer))
        return nullptr;
    return op(p, "layer", {x}, [&] {
        const at::Tensor &v = x->value;
        check_input(v, layer->filter);
        if (!fits(*layer))
            throw std::runtime_error("its filters do not fit");
        if (!p->own) {
            at::Tensor y = channels_last(filtered(v, layer->filter));
            for (int i = 0; i < layer->unit_count; i++)
                add_residual(y, layer->units[i]);
            return layer->then != nullptr ? channels_last(filtered(y, layer->then)) : y;
        }
        const ms_filter_shape &s = layer->filter->shape;
        ms_cpu_unit units[MS_RESIDUALS_MAX];
        for (int i = 0; i < layer->unit_count; i++)
            units[i] = unit_of(layer->units[i]);
        const ms_filter *then = layer->then;
        const ms_cpu_layer own = {&layer->filter->cpu, then != nullptr ? &then->cpu : nullptr,
                                  units, layer->unit_count};
        at::Tensor y = at::empty({v.size(0), ms_divide_up(v.size(1), s.stride_rows),
                                  ms_divide_up(v.size(2), s.stride_columns),
                                  ms_filter_results(then != nullptr ? &then->shape : &s)},
                                 v.options()),
                   memory;
        void *room = scratch(&memory, ms_cpu_layer_scratch(&own, v.size(1), v.size(2), y.size(2)));
        for (int64_t n = 0; n < v.size(0); n++)
            ms_cpu_run_layer(&own, data(v[n]), v.size(1), v.size(2), data(y[n]), y.size(1),
                             y.size(2), room);
        return y;
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

/* [batch][heads][tokens][depth] each */
at::Tensor attended(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
#if TORCH_VERSION_MAJOR >= 2
    return at::scaled_dot_product_attention(q, k, v);
#else
    const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(3)));
    const at::Tensor scores = at::matmul(q, k.transpose(2, 3)).to(at::kFloat) * scale;
    return at::matmul(at::softmax(scores, 3).to(v.scalar_type()), v);
#endif
}

} // namespace

ms_tensor *ms_attend(ms_pool *p, const ms_tensor *q, const ms_tensor *k, int64_t k_from,
                     const ms_tensor *v, int64_t v_from, int64_t channels, int heads, bool bf16) {
    return op(p, "attend", {q, k, v}, [&] {
        const at::Tensor &from = q->value, &keys = k->value, &values = v->value;
        const int64_t batch = from.size(0), queries = from.size(2), depth = channels / heads;
        if (!p->own) {
            return attended(heads_of(from, 0, channels, heads, bf16),
                            heads_of(keys, k_from, channels, heads, bf16),
                            heads_of(values, v_from, channels, heads, bf16))
                .to(at::kFloat)
                .permute({0, 2, 1, 3})
                .reshape({batch, 1, queries, channels});
        }
        at::Tensor y = at::empty({batch, 1, queries, channels}, from.options()), memory;
        ms_attention a = {};
        a.q_stride = from.size(3);
        a.k_stride = keys.size(3);
        a.v_stride = values.size(3);
        a.y_stride = channels;
        a.queries = queries;
        a.keys = keys.size(2);
        a.heads = heads;
        a.depth = depth;
        a.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(depth)));
        a.bf16 = bf16 && depth % 2 == 0;
        a.scratch = scratch(&memory, ms_kernels_get()->attention_bytes(&a));
        for (int64_t n = 0; n < batch; n++) {
            a.q = data(from[n]);
            a.k = data(keys[n]) + k_from;
            a.v = data(values[n]) + v_from;
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

/* ---- levels and spectra ---- */

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
        const int64_t hop = nfft / 4, count = ms_divide_up(frames, hop), pad = hop / 2 * 3;
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
