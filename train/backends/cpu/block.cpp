// BatchNorm + neuron, with or without MaxPool 2x2, over all time steps: y [T, B, H, W, C] (channels last) in, spikes
// out, and back. What lies between the three is never in main memory.
//
// Without pooling an image is one line of H W pixels; with it, lines are taken two at a time. A strip is a part of a
// line (or of both) short enough for the caches: all its time steps are worked on before the next.
#include "strips.hpp"
#include "surrogate.hpp"

namespace {

template <class Y>
void statistics(const Block& s, const Y* y, double* mean, double* variance) {
    const int64_t C = s.C, rows = s.steps() * s.B * s.H * s.W, together = 256;
    std::vector<double> sums(2 * C * s.threads);
    std::vector<float> shift(C);  // the first pixel: subtracted, so that a large mean costs no digits
    for (int64_t c = 0; c < C; ++c) shift[c] = rows ? load(y + c) : 0.0f;
#pragma omp parallel num_threads(s.threads)
    {
        std::vector<float> memory(2 * C);
        float *sum = memory.data(), *square = sum + C;
        const float* first = shift.data();
        double *all = sums.data() + 2 * C * omp_get_thread_num(), *squares = all + C;
#pragma omp for schedule(static) nowait
        for (int64_t r = 0; r < rows; r += together) {
            std::fill(memory.begin(), memory.end(), 0.0f);
            for (int64_t i = r; i < std::min(rows, r + together); ++i) {
                const Y* pixel = y + i * C;
#pragma omp simd
                for (int64_t c = 0; c < C; ++c) {
                    const float d = load(pixel + c) - first[c];
                    sum[c] += d;
                    square[c] += d * d;
                }
            }
            for (int64_t c = 0; c < C; ++c) all[c] += sum[c], squares[c] += square[c];
        }
    }
    for (int64_t c = 0; c < C; ++c) {
        double sum = 0, square = 0;
        for (int64_t k = 0; k < s.threads; ++k) sum += sums[2 * C * k + c], square += sums[2 * C * k + C + c];
        mean[c] = shift[c] + sum / rows;
        variance[c] = std::max(0.0, square / rows - sum / rows * (sum / rows));
    }
}

template <class Y, int CHARGE>
void step_row(const Neuron& p, const Y* y, const float* scale, const float* shift, Y* spikes, float* v, int64_t n) {
    const float decay = p.decay, threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float h = charged<CHARGE>(v[i], load(y + i) * scale[i] + shift[i], decay, reset);
        const bool fires = h >= threshold;
        fire(spikes + i, fires);
        v[i] = fires ? (hard ? reset : h - threshold) : h;
    }
}

template <class Y, int CHARGE>
void charge_row(const Neuron& p, const Y* y, const float* scale, const float* shift, float* h, float* v, int64_t n) {
    const float decay = p.decay, threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float z = charged<CHARGE>(v[i], load(y + i) * scale[i] + shift[i], decay, reset);
        h[i] = z;
        v[i] = z >= threshold ? (hard ? reset : z - threshold) : z;
    }
}

template <class Y> void store_row(const float* from, Y* to, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) store(to + i, from[i]);
}

// The same for windows of MaxPool, that fire where one of their four numbers does. Second lines lie ``line`` behind the
// first in v, ``y_line`` in y.
template <class Y, int CHARGE>
void step_window(const Neuron& p, const Y* y, int64_t y_line, const float* scale, const float* shift, Y* out, float* v,
                 int64_t line, int64_t pooled, int64_t C) {
    const float decay = p.decay, threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
    for (int64_t k = 0; k < pooled; ++k) {
        const Y* upper = y + 2 * k * C;
        float* potential = v + 2 * k * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
            auto step = [&](int64_t i, int64_t j) {
                const float h = charged<CHARGE>(potential[i], load(upper + j) * scale[c] + shift[c], decay, reset);
                const float after = hard ? reset : h - threshold;  // computed always: no branch, or nothing is vectorised
                const bool fires = h >= threshold;
                potential[i] = fires ? after : h;
                return fires;
            };
            const bool f0 = step(c, c), f1 = step(c + C, c + C);
            const bool f2 = step(c + line, c + y_line), f3 = step(c + C + line, c + C + y_line);
            fire(out + k * C + c, f0 | f1 | f2 | f3);
        }
    }
}

template <class Y>
void forward(const Neuron& p, const Block& s, const Y* y, const float* scales, const float* shifts,
             const float* v_first, Y* out, float* v_last) {
    const Cut cut(s);
    const int64_t C = s.C, W = cut.W, plane = s.B * cut.H * W * C, length = cut.columns * C;
    const int64_t OH = s.H / 2, OW = s.W / 2, out_plane = s.pool ? s.B * OH * OW * C : plane;
    const int64_t y_step = s.still ? 0 : plane;
    const std::vector<float> scale = repeated(scales, C, cut.columns), shift = repeated(shifts, C, cut.columns);
    want_huge_pages(out, s.T * out_plane * sizeof(Y));
    want_huge_pages(v_last, plane * 4);
#pragma omp parallel num_threads(s.threads)
    {
        std::vector<float> potential(2 * length);
        std::vector<Y> unused(length);
        float* v = potential.data();
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < cut.count; ++i) {
            const Strip strip = cut[i];
            const int64_t n = strip.columns * C, at = ((strip.image * cut.H + strip.line) * W + strip.column) * C;
            const int64_t to = ((strip.image * OH + strip.line / 2) * OW + strip.column / 2) * C;
            const int64_t done = 2 * strip.pooled * C;
            for (int64_t k = 0; k < strip.lines; ++k) {
                if (v_first) memcpy(v + k * length, v_first + at + k * W * C, n * 4);
                else std::fill(v + k * length, v + k * length + n, p.reset);
            }
            for (int64_t t = 0; t < s.T; ++t) {
                for (int64_t k = 0; k < strip.lines && y_step && t + 1 < s.T; ++k)
                    prefetch(y + (t + 1) * y_step + at + k * W * C, n * sizeof(Y));
                const Y* from = y + t * y_step + at;
                by_charge(p.charge, [&](auto c) {
                    if (strip.pooled)
                        step_window<Y, c()>(p, from, W * C, scales, shifts, out + t * out_plane + to, v, length,
                                            strip.pooled, C);
                    for (int64_t k = 0; k < strip.lines && done < n; ++k)  // all that is in no window
                        step_row<Y, c()>(p, from + k * W * C + done, scale.data(), shift.data(),
                                         s.pool ? unused.data() : out + t * out_plane + at, v + k * length + done,
                                         n - done);
                });
            }
            if (v_last)
                for (int64_t k = 0; k < strip.lines; ++k) memcpy(v_last + at + k * W * C, v + k * length, n * 4);
        }
    }
}

// MaxPool sends a gradient to the first spike of its window, to the first element if there is none. The surrogate is
// needed there only, unless gradients flow through the reset too: gather these potentials.
void gather_row(const float* upper, const float* lower, float threshold, float* chosen, int64_t pooled, int64_t C) {
    for (int64_t k = 0; k < pooled; ++k) {
        const float *a = upper + 2 * k * C, *b = lower + 2 * k * C;
        float* to = chosen + k * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
            const float h0 = a[c], h1 = a[C + c], h2 = b[c], h3 = b[C + c];
            to[c] = h0 >= threshold ? h0 : h1 >= threshold ? h1 : h2 >= threshold ? h2 : h3 >= threshold ? h3 : h0;
        }
    }
}

// dL/dv -> dL/dy and the dL/dv before; sums for the statistics on the way. gh is written where it is asked for.
template <class Y, bool DETACH, bool KEEP>
void gradient_row(const Neuron& p, const float* h, const float* slope, const float* over_spikes, const Y* y,
                  const float* mean, const float* scale, float input, float carry, float* gy, float* g,
                  float* gh, float* sum, float* product, int64_t n) {
    const float threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        float d = over_spikes[i] + (hard && h[i] >= threshold ? 0.0f : g[i]);
        if constexpr (!DETACH) d += g[i] * ((hard ? reset - h[i] : -threshold) * slope[i]);
        if constexpr (KEEP) gh[i] = d;
        const float x = d * input;
        g[i] = d * carry;
        sum[i] += x;
        product[i] += x * (load(y + i) - mean[i]);
        gy[i] = x * scale[i];
    }
}

// The same for windows of MaxPool: of four numbers, one takes the gradient. slope: one a window where DETACH, else one
// a number in two lines. Second lines lie ``line`` behind the first in rows, ``y_line`` in y.
template <class Y, bool DETACH, bool KEEP>
void window_row(const Neuron& p, const float* h, const float* slope, int64_t line, const Y* g_out, const Y* y,
                int64_t y_line, const float* mean, const float* scale, float input, float carry, float* gy, float* g,
                float* gh, float* sum, float* product, int64_t pooled, int64_t C) {
    const float threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
    for (int64_t k = 0; k < pooled; ++k) {
        const int64_t at = 2 * k * C;
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) {
            const int64_t i0 = at + c, i1 = i0 + C, i2 = i0 + line, i3 = i1 + line;
            const bool f0 = h[i0] >= threshold, f1 = h[i1] >= threshold;
            const bool f2 = h[i2] >= threshold, f3 = h[i3] >= threshold;
            const float up = load(g_out + k * C + c), shared = DETACH ? up * slope[k * C + c] : 0.0f;
            float x_sum = 0, x_product = 0;
            auto back = [&](int64_t i, int64_t j, bool fires, bool takes) {
                float d = takes ? (DETACH ? shared : up * slope[i]) : 0.0f;
                d += hard && fires ? 0.0f : g[i];
                if constexpr (!DETACH) d += g[i] * ((hard ? reset - h[i] : -threshold) * slope[i]);
                if constexpr (KEEP) gh[i] = d;
                const float x = d * input;
                g[i] = d * carry;
                x_sum += x;
                x_product += x * (load(y + j) - mean[c]);
                gy[i] = x * scale[c];
            };
            back(i0, i0, f0, f0 | !(f1 | f2 | f3));
            back(i1, i1, f1, f1 & !f0);
            back(i2, i0 + y_line, f2, f2 & !(f0 | f1));
            back(i3, i1 + y_line, f3, f3 & !(f0 | f1 | f2));
            sum[c] += x_sum;
            product[c] += x_product;
        }
    }
}

struct Sums {  // over T, B, H, W, one a channel: of dL/dx, and of dL/dx (y - mean)
    std::vector<double> sum, product;
    double decay = 0;
};

template <class Y>
Sums backward(const Neuron& p, const Block& s, const Y* y, const float* scales, const float* shifts, const float* means,
              const float* v_first, const Y* g_out, const float* g_last, Y* gy, float* g_first, bool decay_learns) {
    const Cut cut(s);
    const int64_t T = s.T, C = s.C, W = cut.W, plane = s.B * cut.H * W * C, length = cut.columns * C;
    const int64_t OH = s.H / 2, OW = s.W / 2, out_plane = s.pool ? s.B * OH * OW * C : plane;
    const int64_t y_step = s.still ? 0 : plane, gy_bytes = s.steps() * plane * sizeof(Y);
    const bool past_cache = gy_bytes >= STREAM_FROM;
    const std::vector<float> scale = repeated(scales, C, cut.columns), shift = repeated(shifts, C, cut.columns);
    const std::vector<float> mean = repeated(means, C, cut.columns);
    const float input = input_slope(p), carry = carry_slope(p);
    std::vector<double> sums(2 * C * s.threads), decays(decay_learns ? cut.count : 0);
    want_huge_pages(gy, gy_bytes);
#pragma omp parallel num_threads(s.threads)
    {
        std::vector<float> memory((2 * T + 15) * length);
        std::vector<Y> rounded(length);
        float *h = memory.data(), *v = h + 2 * T * length, *g = v + length, *gh = g + 2 * length;
        float *slope = gh + 2 * length, *over = slope + 2 * length, *chosen = over + length;
        float *sum = chosen + length, *product = sum + length;
        float *row_gy = product + length, *all_gy = row_gy + 2 * length;
        double *all = sums.data() + 2 * C * omp_get_thread_num(), *products = all + C;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < cut.count; ++i) {
            const Strip strip = cut[i];
            const int64_t n = strip.columns * C, at = ((strip.image * cut.H + strip.line) * W + strip.column) * C;
            const int64_t from = ((strip.image * OH + strip.line / 2) * OW + strip.column / 2) * C;
            auto start = [&](float* row, int64_t k) {
                if (v_first) memcpy(row, v_first + at + k * W * C, n * 4);
                else std::fill(row, row + n, p.reset);
            };
            for (int64_t k = 0; k < strip.lines; ++k) {
                start(v, k);
                for (int64_t t = 0; t < T; ++t) {
                    if (y_step && t + 1 < T) prefetch(y + (t + 1) * y_step + at + k * W * C, n * sizeof(Y));
                    by_charge(p.charge, [&](auto c) {
                        charge_row<Y, c()>(p, y + t * y_step + at + k * W * C, scale.data(), shift.data(),
                                           h + (2 * t + k) * length, v, n);
                    });
                }
                if (g_last) memcpy(g + k * length, g_last + at + k * W * C, n * 4);
                else std::fill(g + k * length, g + k * length + n, 0.0f);
            }
            std::fill(sum, sum + 2 * length, 0.0f);
            std::fill(all_gy, all_gy + 2 * length, 0.0f);
            auto by_need = [&](auto work) {
                if (p.detach && !decay_learns) work(std::true_type{}, std::false_type{});
                else if (p.detach) work(std::true_type{}, std::true_type{});
                else work(std::false_type{}, std::true_type{});
            };
            double decay = 0;
            for (int64_t t = T - 1; t >= 0; --t) {
                const float* ht = h + 2 * t * length;
                const int64_t there = t * y_step + at, done = 2 * strip.pooled * C;
                if (strip.pooled) {
                    if (p.detach) {
                        gather_row(ht, ht + length, p.threshold, chosen, strip.pooled, C);
                        surrogate_row(p, chosen, slope, strip.pooled * C);
                    } else surrogate_row(p, ht, slope, length + done);
                    by_need([&](auto detach, auto keep) {
                        window_row<Y, detach(), keep()>(p, ht, slope, length, g_out + t * out_plane + from, y + there,
                                                        W * C, mean.data(), scale.data(), input, carry, row_gy, g, gh,
                                                        sum, product, strip.pooled, C);
                    });
                }
                for (int64_t k = 0; k < strip.lines && done < n; ++k) {  // all that is in no window
                    const int64_t m = n - done, row = k * length + done, image = at + k * W * C + done;
                    surrogate_row(p, ht + row, slope, m);
                    const Y* g_spikes = g_out + t * out_plane + image;
                    for (int64_t j = 0; j < m; ++j) over[j] = s.pool ? 0.0f : load(g_spikes + j) * slope[j];
                    by_need([&](auto detach, auto keep) {
                        gradient_row<Y, detach(), keep()>(p, ht + row, slope, over, y + t * y_step + image, mean.data(),
                                                          scale.data(), input, carry, row_gy + row, g + row, gh + row,
                                                          sum, product, m);
                    });
                }
                for (int64_t k = 0; k < strip.lines && decay_learns; ++k) {
                    if (t) reset_row(p, ht + (k - 2) * length, v, n);
                    else start(v, k);
                    decay += decay_gradient(p, gh + k * length, ht + k * length, v, n);
                }
                for (int64_t k = 0; k < strip.lines; ++k) {
                    const float* row = row_gy + k * length;
                    if (s.still) add_row(row, all_gy + k * length, n);
                    else finish(row, gy + there + k * W * C, rounded.data(), n, past_cache);
                }
            }
            for (int64_t k = 0; k < strip.lines && s.still; ++k)
                finish(all_gy + k * length, gy + at + k * W * C, rounded.data(), n, past_cache);
            if (g_first)
                for (int64_t k = 0; k < strip.lines; ++k) memcpy(g_first + at + k * W * C, g + k * length, n * 4);
            if (decay_learns) decays[i] = decay;
            for (int64_t j = 0; j < strip.columns; ++j)
                for (int64_t c = 0; c < C; ++c) all[c] += sum[j * C + c], products[c] += product[j * C + c];
        }
    }
    Sums total{std::vector<double>(C), std::vector<double>(C)};
    for (int64_t k = 0; k < s.threads; ++k)
        for (int64_t c = 0; c < C; ++c)
            total.sum[c] += sums[2 * C * k + c], total.product[c] += sums[2 * C * k + C + c];
    for (const double one : decays) total.decay += one;
    return total;
}

// The batch's own statistics depend on y: dL/dy = scale (dL/dx - mean(dL/dx) - x^ mean(dL/dx x^)); gy holds the first.
template <class Y>
void through_statistics(const Block& s, const Y* y, const float* means, const float* scales, const Sums& sums,
                        const float* rstd, Y* gy) {
    const int64_t C = s.C, rows = s.steps() * s.B * s.H * s.W, together = std::max<int64_t>(1, 1024 / C);
    std::vector<float> constant(C), factor(C);
    for (int64_t c = 0; c < C; ++c) {
        factor[c] = float(scales[c] * double(rstd[c]) * rstd[c] * sums.product[c] / rows);
        constant[c] = float(scales[c] * sums.sum[c] / rows - double(means[c]) * factor[c]);
    }
    const std::vector<float> constants = repeated(constant.data(), C, together);
    const std::vector<float> factors = repeated(factor.data(), C, together);
    const float *k = constants.data(), *f = factors.data();
#pragma omp parallel for schedule(static) num_threads(s.threads)
    for (int64_t r = 0; r < rows; r += together) {
        const int64_t n = std::min(together, rows - r) * C;
        const Y* from = y + r * C;
        Y* to = gy + r * C;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) store(to + i, load(to + i) - k[i] - load(from + i) * f[i]);
    }
}

template <class Y>
double backward_all(const Neuron& p, const Block& s, const Y* y, const float* scale, const float* shift,
                    const float* mean, const float* rstd, const float* v_first, const Y* g_out, const float* g_last,
                    Y* gy, float* g_first, float* g_weight, float* g_bias, bool training, bool decay_learns) {
    const Sums sums = backward(p, s, y, scale, shift, mean, v_first, g_out, g_last, gy, g_first, decay_learns);
    for (int64_t c = 0; c < s.C; ++c) {
        g_bias[c] = float(sums.sum[c]);
        g_weight[c] = float(sums.product[c] * rstd[c]);
    }
    if (training) through_statistics(s, y, mean, scale, sums, rstd, gy);
    return sums.decay;
}

}  // namespace

// bf: whether y, the spikes and their gradients are bfloat16. Null: what nobody asked for.
extern "C" void block_statistics(const Block* s, int bf, const void* y, double* mean, double* variance) {
    if (bf) statistics(*s, static_cast<const bf16*>(y), mean, variance);
    else statistics(*s, static_cast<const float*>(y), mean, variance);
}

extern "C" void block_forward(const Neuron* p, const Block* s, int bf, const void* y, const float* scale,
                              const float* shift, const float* v_first, void* out, float* v_last) {
    if (bf) forward(*p, *s, static_cast<const bf16*>(y), scale, shift, v_first, static_cast<bf16*>(out), v_last);
    else forward(*p, *s, static_cast<const float*>(y), scale, shift, v_first, static_cast<float*>(out), v_last);
}

extern "C" double block_backward(const Neuron* p, const Block* s, int bf, const void* y, const float* scale,
                                 const float* shift, const float* mean, const float* rstd, const float* v_first,
                                 const void* g_out, const float* g_last, void* gy, float* g_first, float* g_weight,
                                 float* g_bias, int training, int decay_learns) {
    if (bf)
        return backward_all(*p, *s, static_cast<const bf16*>(y), scale, shift, mean, rstd, v_first,
                            static_cast<const bf16*>(g_out), g_last, static_cast<bf16*>(gy), g_first, g_weight, g_bias,
                            training, decay_learns);
    return backward_all(*p, *s, static_cast<const float*>(y), scale, shift, mean, rstd, v_first,
                        static_cast<const float*>(g_out), g_last, static_cast<float*>(gy), g_first, g_weight, g_bias,
                        training, decay_learns);
}
