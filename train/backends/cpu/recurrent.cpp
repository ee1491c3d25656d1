// What feeds its output back: a layer of neurons through a matrix, and a synapse that forgets while nothing arrives.
#include "surrogate.hpp"

#include <algorithm>

namespace {

// out [rows, M] += x [rows, K] times w [K, M]; small matrices, that stay in the caches.
void add_product(const float* x, const float* w, float* out, int64_t rows, int64_t K, int64_t M) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* from = x + r * K;
        float* to = out + r * M;
        int64_t k = 0;
        for (; k + 4 <= K; k += 4) {
            const float a = from[k], b = from[k + 1], c = from[k + 2], d = from[k + 3];
            const float *wa = w + k * M, *wb = wa + M, *wc = wb + M, *wd = wc + M;
#pragma omp simd
            for (int64_t m = 0; m < M; ++m) to[m] += (a * wa[m] + b * wb[m]) + (c * wc[m] + d * wd[m]);
        }
        for (; k < K; ++k) {
            const float a = from[k];
            const float* wa = w + k * M;
#pragma omp simd
            for (int64_t m = 0; m < M; ++m) to[m] += a * wa[m];
        }
    }
}

void charge_row(const Neuron& p, const float* x, const float* v, float* h, int64_t n) {
    const float decay = p.decay, reset = p.reset;
    by_charge(p.charge, [&](auto c) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) h[i] = charged<c()>(v[i], x[i], decay, reset);
    });
}

void fire_row(const Neuron& p, const float* h, float* s, int64_t n) {
    const float threshold = p.threshold;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) s[i] = h[i] >= threshold ? 1.0f : 0.0f;
}

// gh: the gradient at h, from gs over the spikes and g over the potential kept.
void back_row(const Neuron& p, const float* h, const float* gs, const float* g, float* gh, int64_t n) {
    const float threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard, detach = p.detach;
    by_surrogate(p, [=](auto slope_at) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const float slope = slope_at(h[i] - threshold), kept = hard && h[i] >= threshold ? 0.0f : 1.0f;
            const float over_reset = detach ? 0.0f : (hard ? reset - h[i] : -threshold) * slope;
            gh[i] = gs[i] * slope + g[i] * (kept + over_reset);
        }
    });
}

// Samples worked on together: their rows lie one behind the other.
int64_t together(int64_t T, int64_t H) { return std::max<int64_t>(1, row_length(T) / std::max<int64_t>(1, H)); }

}  // namespace

// current[t] = input[t] + s[t-1] weight, and the neurons on that; input, current, s: [T, N, H], weight: [H, H], from
// which neuron to which; s_first, v_first, v_last: [N, H].
extern "C" void feedback_forward(const Neuron* p, int threads, int64_t T, int64_t N, int64_t H, const float* input,
                                 const float* weight, const float* s_first, const float* v_first, float* current,
                                 float* s, float* v_last) {
    const int64_t rows = together(T, H), step = N * H;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> memory(2 * rows * H);
        float *v = memory.data(), *h = v + rows * H;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < N; i += rows) {
            const int64_t count = std::min(rows, N - i), n = count * H, at = i * H;
            memcpy(v, v_first + at, n * 4);
            for (int64_t t = 0; t < T; ++t) {
                float* u = current + t * step + at;
                memcpy(u, input + t * step + at, n * 4);
                const float* before = t ? s + (t - 1) * step + at : s_first ? s_first + at : nullptr;
                if (before) add_product(before, weight, u, count, H, H);
                charge_row(*p, u, v, h, n);
                fire_row(*p, h, s + t * step + at, n);
                reset_row(*p, h, v, n);
            }
            memcpy(v_last + at, v, n * 4);
        }
    }
}

// back: the transposed weight. g_current is the gradient of input too; g_s and g_v may be null; g_s_first and g_v_first
// are written. Returns the gradient of PLIF's 1/tau.
extern "C" double feedback_backward(const Neuron* p, int threads, int64_t T, int64_t N, int64_t H, const float* current,
                                    const float* back, const float* v_first, const float* g_s, const float* g_v,
                                    float* g_current, float* g_s_first, float* g_v_first, int decay_learns) {
    const int64_t rows = together(T, H), step = N * H, length = rows * H;
    const float input = input_slope(*p), carry = carry_slope(*p);
    std::vector<double> decays((N + rows - 1) / rows);
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> memory((T + 4) * length);
        float *h = memory.data(), *v = h + T * length, *g = v + length, *gs = g + length, *gh = gs + length;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < N; i += rows) {
            const int64_t count = std::min(rows, N - i), n = count * H, at = i * H;
            memcpy(v, v_first + at, n * 4);
            for (int64_t t = 0; t < T; ++t) {
                charge_row(*p, current + t * step + at, v, h + t * length, n);
                reset_row(*p, h + t * length, v, n);
            }
            if (g_v) memcpy(g, g_v + at, n * 4);
            else std::fill(g, g + n, 0.0f);
            double decay = 0;
            for (int64_t t = T - 1; t >= 0; --t) {
                const float* ht = h + t * length;
                float* to = g_current + t * step + at;
                if (g_s) memcpy(gs, g_s + t * step + at, n * 4);
                else std::fill(gs, gs + n, 0.0f);
                if (t + 1 < T) add_product(to + step, back, gs, count, H, H);
                back_row(*p, ht, gs, g, gh, n);
                if (decay_learns) {
                    if (t) reset_row(*p, ht - length, v, n);
                    else memcpy(v, v_first + at, n * 4);
                    decay += decay_gradient(*p, gh, ht, v, n);
                }
#pragma omp simd
                for (int64_t j = 0; j < n; ++j) to[j] = gh[j] * input, g[j] = gh[j] * carry;
            }
            memcpy(g_v_first + at, g, n * 4);
            std::fill(g_s_first + at, g_s_first + at + n, 0.0f);
            add_product(g_current + at, back, g_s_first + at, count, H, H);
            decays[i / rows] = decay;
        }
    }
    double total = 0;
    for (const double one : decays) total += one;
    return total;
}

// y = y - (1 - x) y / tau + x at every step; x, y: [T, N]. decay: tau where divide, else 1/tau.
extern "C" void synapse_forward(int threads, int64_t T, int64_t N, float decay, int divide, const float* x,
                                const float* y_first, float* y) {
    const int64_t length = row_length(T);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < N; i += length) {
        const int64_t n = std::min(length, N - i);
        const float* before = y_first + i;
        for (int64_t t = 0; t < T; ++t) {
            const float* xt = x + t * N + i;
            float* yt = y + t * N + i;
            if (divide)
#pragma omp simd
                for (int64_t j = 0; j < n; ++j) yt[j] = (before[j] - (1.0f - xt[j]) * before[j] / decay) + xt[j];
            else
#pragma omp simd
                for (int64_t j = 0; j < n; ++j) yt[j] = (before[j] - (1.0f - xt[j]) * before[j] * decay) + xt[j];
            before = yt;
        }
    }
}

// Returns the gradient of 1/tau.
extern "C" double synapse_backward(int threads, int64_t T, int64_t N, float q, const float* x, const float* y_first,
                                   const float* y, const float* g_y, float* g_x, float* g_first) {
    const int64_t length = row_length(T);
    std::vector<double> decays((N + length - 1) / length);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < N; i += length) {
        const int64_t n = std::min(length, N - i);
        float* g = g_first + i;
        std::fill(g, g + n, 0.0f);
        double decay = 0;
        for (int64_t t = T - 1; t >= 0; --t) {
            const float *xt = x + t * N + i, *gt = g_y + t * N + i, *before = t ? y + (t - 1) * N + i : y_first + i;
            float *to = g_x + t * N + i, sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < n; ++j) {
                const float all = gt[j] + g[j], left = 1.0f - xt[j];
                to[j] = all * (1.0f + before[j] * q);
                g[j] = all * (1.0f - left * q);
                sum -= all * left * before[j];
            }
            decay += sum;
        }
        decays[i / length] = decay;
    }
    double total = 0;
    for (const double one : decays) total += one;
    return total;
}
