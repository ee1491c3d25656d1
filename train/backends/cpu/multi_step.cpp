// A neuron layer over all time steps: x [T, N] in, spikes out, and back. N counts every neuron of the batch.
#include "surrogate.hpp"

#include <algorithm>

namespace {

template <class Y, int CHARGE>
void step_row(const Neuron& p, const Y* x, Y* s, float* v, int64_t n) {
    const float decay = p.decay, threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float h = charged<CHARGE>(v[i], load(x + i), decay, reset);
        const bool fires = h >= threshold;
        store(s + i, fires ? 1.0f : 0.0f);
        v[i] = fires ? (hard ? reset : h - threshold) : h;
    }
}

// The potentials before the first step.
void first_row(const Neuron& p, const float* v_first, int64_t from, float* v, int64_t n) {
    if (v_first) memcpy(v, v_first + from, n * 4);
    else std::fill(v, v + n, p.reset);
}

template <class Y, int CHARGE>
void charge_row(const Neuron& p, const Y* x, float* v, float* h, int64_t n) {
    const float decay = p.decay, threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float z = charged<CHARGE>(v[i], load(x + i), decay, reset);
        h[i] = z;
        v[i] = z >= threshold ? (hard ? reset : z - threshold) : z;
    }
}

template <class Y>
void forward(const Neuron& p, int threads, int64_t T, int64_t N, const Y* x, int64_t x_step, const float* v_first, Y* s,
             float* v_last, float* v_seq, bool past_cache) {
    const int64_t length = row_length(T);
    want_huge_pages(s, T * N * sizeof(Y));
    want_huge_pages(v_last, N * 4);
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> potential(length);
        std::vector<Y> spikes(length);
        float* v = potential.data();
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < N; i += length) {
            const int64_t n = N - i < length ? N - i : length;
            first_row(p, v_first, i, v, n);
            for (int64_t t = 0; t < T; ++t) {
                Y* to = s + t * N + i;
                Y* row = past_cache ? spikes.data() : to;
                by_charge(p.charge, [&](auto c) { step_row<Y, c()>(p, x + t * x_step + i, row, v, n); });
                if (past_cache) stream(to, row, n * sizeof(Y));
                if (v_seq) memcpy(v_seq + t * N + i, v, n * 4);
            }
            memcpy(v_last + i, v, n * 4);
        }
    }
}

// One step back: g, the gradient of v, becomes that of the v before; gx is written, and gh where it is asked for.
template <class Y, bool DETACH, bool KEEP, class Slope>
void back_row(const Neuron& p, const float* h, const Y* gs, float input, float carry, Y* gx, float* g, float* gh,
              int64_t n, Slope slope_at) {
    const float threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const float slope = slope_at(h[i] - threshold), over_reset = hard && h[i] >= threshold ? 0.0f : g[i];
        float d = load(gs + i) * slope + over_reset;
        if constexpr (!DETACH) d += g[i] * ((hard ? reset - h[i] : -threshold) * slope);
        if constexpr (KEEP) gh[i] = d;
        store(gx + i, d * input);
        g[i] = d * carry;
    }
}

template <class Y>
double backward(const Neuron& p, int threads, int64_t T, int64_t N, const Y* x, int64_t x_step, const float* v_first,
                const Y* gs, int64_t gs_step, const float* gv, const float* gv_seq, Y* gx, float* gv_first,
                bool decay_learns, bool past_cache) {
    const int64_t length = row_length(T);
    const float input = input_slope(p), carry = carry_slope(p);
    want_huge_pages(gx, T * N * sizeof(Y));
    std::vector<double> decay_gradients((N + length - 1) / length);
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> memory((T + 3) * length);
        std::vector<Y> finished(length), nothing(length);
        float *h = memory.data(), *v = h + T * length, *g = v + length, *gh = g + length;
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < N; i += length) {
            const int64_t n = N - i < length ? N - i : length;
            first_row(p, v_first, i, v, n);
            for (int64_t t = 0; t < T; ++t)  // the potentials again: cheaper than writing and reading them
                by_charge(p.charge, [&](auto c) { charge_row<Y, c()>(p, x + t * x_step + i, v, h + t * length, n); });
            if (gv) memcpy(g, gv + i, n * 4);
            else memset(g, 0, n * 4);
            double sum = 0;
            for (int64_t t = T - 1; t >= 0; --t) {
                const float* ht = h + t * length;
                if (gv_seq)
#pragma omp simd
                    for (int64_t j = 0; j < n; ++j) g[j] += gv_seq[t * N + i + j];
                const Y* from = gs ? gs + t * gs_step + i : nothing.data();
                Y* to = gx + t * N + i;
                Y* row = past_cache ? finished.data() : to;
                by_surrogate(p, [&](auto at) {
                    if (p.detach && !decay_learns) back_row<Y, true, false>(p, ht, from, input, carry, row, g, gh, n, at);
                    else if (p.detach) back_row<Y, true, true>(p, ht, from, input, carry, row, g, gh, n, at);
                    else back_row<Y, false, true>(p, ht, from, input, carry, row, g, gh, n, at);
                });
                if (decay_learns) {
                    if (t) reset_row(p, ht - length, v, n);
                    else first_row(p, v_first, i, v, n);
                    sum += decay_gradient(p, gh, ht, v, n);
                }
                if (past_cache) stream(to, row, n * sizeof(Y));
            }
            if (gv_first) memcpy(gv_first + i, g, n * 4);
            decay_gradients[i / length] = sum;
        }
    }
    double total = 0;
    for (const double one : decay_gradients) total += one;
    return total;
}

}  // namespace

// bf: whether x, s and their gradients are bfloat16. Null: v_seq, gs, gv, gv_seq and gv_first that nobody asked for, and
// v_first where every neuron is at rest.
extern "C" void neuron_forward(const Neuron* p, int bf, int threads, int64_t T, int64_t N, const void* x, int64_t x_step,
                               const float* v_first, void* s, float* v_last, float* v_seq, int past_cache) {
    if (bf)
        forward(*p, threads, T, N, static_cast<const bf16*>(x), x_step, v_first, static_cast<bf16*>(s), v_last, v_seq,
                past_cache);
    else
        forward(*p, threads, T, N, static_cast<const float*>(x), x_step, v_first, static_cast<float*>(s), v_last, v_seq,
                past_cache);
}

extern "C" double neuron_backward(const Neuron* p, int bf, int threads, int64_t T, int64_t N, const void* x,
                                  int64_t x_step, const float* v_first, const void* gs, int64_t gs_step,
                                  const float* gv, const float* gv_seq, void* gx, float* gv_first, int decay_learns,
                                  int past_cache) {
    if (bf)
        return backward(*p, threads, T, N, static_cast<const bf16*>(x), x_step, v_first, static_cast<const bf16*>(gs),
                        gs_step, gv, gv_seq, static_cast<bf16*>(gx), gv_first, decay_learns, past_cache);
    return backward(*p, threads, T, N, static_cast<const float*>(x), x_step, v_first, static_cast<const float*>(gs),
                    gs_step, gv, gv_seq, static_cast<float*>(gx), gv_first, decay_learns, past_cache);
}
