// Fused multi-step spiking neurons, forwards and backwards through time: one thread is one neuron over all steps.
//
// One text; the variant is chosen with -D (train/backends/cupy.py writes the options):
//   IO           0: x, s and their gradients are float; 1: __half; 2: __nv_bfloat16. The state is always float.
//   KIND         IF, LIF or PLIF
//   HARD         1: a spike sets v to v_reset; 0: it subtracts the threshold
//   DECAY_INPUT  LIF, PLIF. 1: h = v + (x - (v - v_reset)) / tau; 0: h = v - (v - v_reset) / tau + x
//   DIVIDE       LIF. 1: k is tau and divides; 0: k is 1/tau and multiplies, exact where tau is a power of two
//   DETACH       1: no gradient flows through the reset
//   SURROGATE    the derivative of the spike, a name from below: this makes the kernel "backward"; without it "forward"
//
// Formulas: Fang et al. 2023, Science Advances 9, eadi1480. Compile with --fmad=false: spikes and potentials are then
// those of the torch engine bit for bit. Arrays are [T, N] with N the number of neurons; a null pointer is an array
// that nobody asked for.

#if IO == 1
#include <cuda_fp16.h>
typedef __half real;
__device__ __forceinline__ float widen(real x) { return __half2float(x); }
__device__ __forceinline__ real narrow(float x) { return __float2half_rn(x); }
#elif IO == 2
#include <cuda_bf16.h>
typedef __nv_bfloat16 real;
__device__ __forceinline__ float widen(real x) { return __bfloat162float(x); }
__device__ __forceinline__ real narrow(float x) { return __float2bfloat16_rn(x); }
#else
typedef float real;
__device__ __forceinline__ float widen(real x) { return x; }
__device__ __forceinline__ real narrow(float x) { return x; }
#endif

#define IF 0
#define LIF 1
#define PLIF 2
#define BLOCK 256
#define STEPS 4  // whose loads are under way together: time steps wait for one another, loads need not
// Four blocks a multiprocessor are asked for, 64 registers a thread: left alone, ptxas aims at more and spills for it.

// What the membrane loses of y in one step.
__device__ __forceinline__ float decay(float y, float k) {
#if KIND == LIF && DIVIDE
    return y / k;
#else
    return y * k;
#endif
}

// Distance from rest; a soft reset rests at 0.
__device__ __forceinline__ float from_rest(float v, float v_reset) {
#if HARD
    return v - v_reset;
#else
    return v;
#endif
}

__device__ __forceinline__ float charge(float v, float x, float v_reset, float k) {
#if KIND == IF
    return v + x;
#elif DECAY_INPUT
    return v + decay(x - from_rest(v, v_reset), k);
#else
    return (v - decay(from_rest(v, v_reset), k)) + x;
#endif
}

__device__ __forceinline__ float reset(float h, float threshold, float v_reset) {
#if HARD
    return h >= threshold ? v_reset : h;
#else
    return h >= threshold ? h - threshold : h;
#endif
}

#ifndef SURROGATE
extern "C" __global__ void __launch_bounds__(BLOCK, 4)
forward(const real* __restrict__ x, const float* __restrict__ v_first, const float* __restrict__ q,
        real* __restrict__ s, float* __restrict__ v_last, float* __restrict__ h_seq, float* __restrict__ v_seq,
        float threshold, float v_reset, float k, int T, long long N) {
    const long long n = (long long)blockIdx.x * BLOCK + threadIdx.x;
    if (n >= N) return;
#if KIND == PLIF
    k = *q;
#endif
    float v = v_first[n];
    for (int first = 0; first < T; first += STEPS) {
        real x_ahead[STEPS];
#pragma unroll
        for (int j = 0; j < STEPS; ++j)
            if (first + j < T) x_ahead[j] = x[(first + j) * N + n];
#pragma unroll
        for (int j = 0; j < STEPS; ++j) {
            if (first + j >= T) break;
            const long long i = (first + j) * N + n;
            const float h = charge(v, widen(x_ahead[j]), v_reset, k);
            v = reset(h, threshold, v_reset);
            s[i] = narrow(h >= threshold ? 1.0f : 0.0f);
            if (h_seq) h_seq[i] = h;
            if (v_seq) v_seq[i] = v;
        }
    }
    v_last[n] = v;
}

#else
// Derivatives at u = h - threshold, named d_ and the surrogate's name; after u come its parameters in their order.
__device__ __forceinline__ float d_sigmoid(float u, float a, float) {
    const float s = 1.0f / (1.0f + expf(-a * u));
    return a * (s * (1.0f - s));
}
__device__ __forceinline__ float d_atan(float u, float a, float) {
    const float z = 1.57079632679489662f * a * u;
    return 0.5f * a / (1.0f + z * z);
}
__device__ __forceinline__ float d_piecewise_quadratic(float u, float a, float) {
    return fmaxf(a - a * a * fabsf(u), 0.0f);
}
__device__ __forceinline__ float d_piecewise_exp(float u, float a, float) { return 0.5f * a * expf(-a * fabsf(u)); }
__device__ __forceinline__ float d_soft_sign(float u, float a, float) {
    const float z = 1.0f + a * fabsf(u);
    return 0.5f * a / (z * z);
}
__device__ __forceinline__ float d_super_spike(float u, float a, float) {
    const float z = 1.0f + fabsf(u);
    return a / (z * z);
}
__device__ __forceinline__ float d_erf(float u, float a, float) {
    return 0.564189583547756287f * a * expf(-(a * u) * (a * u));
}
__device__ __forceinline__ float d_nonzero_sign_log_abs(float u, float a, float) { return 1.0f / (1.0f / a + fabsf(u)); }
__device__ __forceinline__ float d_leaky_k_relu(float u, float leak, float k) { return u >= 0.0f ? k : leak; }
__device__ __forceinline__ float d_piecewise_leaky_relu(float u, float w, float c) {
    return fabsf(u) < w ? 1.0f / (2.0f * w) : c;
}
__device__ __forceinline__ float d_q_pseudo_spike(float u, float a, float) {
    return powf(1.0f + 2.0f / (a - 1.0f) * fabsf(u), -a);
}
__device__ __forceinline__ float d_s2nn(float u, float a, float b) {
    return u < 0.0f ? d_sigmoid(u, a, 0.0f) : b / (u + 1.0f);
}
__device__ __forceinline__ float d_rect(float u, float a, float) { return fabsf(u) < 0.5f / a ? a : 0.0f; }
__device__ __forceinline__ float d_fake_numerical_gradient(float u, float a, float) {
    return fminf(1.0f / fabsf(u), a);
}
__device__ __forceinline__ float d_log_tailed_relu(float u, float a, float) {
    return u <= 0.0f ? a : 1.0f / fmaxf(u, 1.0f);
}
__device__ __forceinline__ float d_squarewave_fourier_series(float u, float n, float T_period) {
    float sum = 0.0f;
    for (float k = 1.0f; k < 2.0f * n - 2.0f; k += 2.0f) sum += cospif(2.0f * k / T_period * u);
    return 4.0f / T_period * sum;
}
__device__ __forceinline__ float d_deterministic_pass(float, float, float) { return 1.0f; }

// gs, gv_last, gv_seq: what arrives at s, v_last, v_seq. gq: one sum a block of the gradient of q = sigmoid(w), which
// with DECAY_INPUT is still to be divided by q.
extern "C" __global__ void __launch_bounds__(BLOCK, 4)
backward(const real* __restrict__ gs, const float* __restrict__ gv_last, const float* __restrict__ gv_seq,
         const float* __restrict__ h_seq, const float* __restrict__ v_first, const float* __restrict__ q,
         real* __restrict__ gx, float* __restrict__ gv_first, double* __restrict__ gq,
         float threshold, float v_reset, float k, float a, float b, int T, long long N) {
    const long long n = (long long)blockIdx.x * BLOCK + threadIdx.x;
#if KIND == PLIF
    k = *q;
    float sum = 0.0f;
#endif
    if (n < N) {
        float g = gv_last ? gv_last[n] : 0.0f;
        float h = h_seq[(T - 1) * N + n];
        for (int last = T - 1; last >= 0; last -= STEPS) {
            float h_ahead[STEPS];
            real gs_ahead[STEPS];
#pragma unroll
            for (int j = 0; j < STEPS; ++j) {
                const int t = last - j;
                if (t > 0) h_ahead[j] = h_seq[(t - 1) * N + n];
                if (gs && t >= 0) gs_ahead[j] = gs[t * N + n];
            }
#pragma unroll
            for (int j = 0; j < STEPS; ++j) {
                const int t = last - j;
                if (t < 0) break;
                const long long i = t * N + n;
                const float slope = SURROGATE(h - threshold, a, b);
                if (gv_seq) g += gv_seq[i];
#if HARD
                float dv_dh = h >= threshold ? 0.0f : 1.0f;
#if !DETACH
                dv_dh += (v_reset - h) * slope;
#endif
#else
                float dv_dh = 1.0f;
#if !DETACH
                dv_dh -= threshold * slope;
#endif
#endif
                float gh = g * dv_dh;
                if (gs) gh += widen(gs_ahead[j]) * slope;
#if KIND == PLIF
                const float v_before = t ? reset(h_ahead[j], threshold, v_reset) : v_first[n];
#if DECAY_INPUT
                sum += gh * (h - v_before);
#else
                sum -= gh * from_rest(v_before, v_reset);
#endif
#endif
#if KIND == IF
                gx[i] = narrow(gh);
                g = gh;
#else
                const float lost = decay(gh, k);
                gx[i] = narrow(DECAY_INPUT ? lost : gh);
                g = gh - lost;
#endif
                if (t) h = h_ahead[j];
            }
        }
        gv_first[n] = g;
    }
#if KIND == PLIF
    // Halved over and over in a fixed order: the same bits on every run and every device.
    __shared__ double sums[BLOCK];
    sums[threadIdx.x] = sum;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) gq[blockIdx.x] = sums[0];
#endif
}
#endif
