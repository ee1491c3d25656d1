// What all kernels share: one neuron's equations over a row of numbers, and how such rows are read and written.
//
// A row is short enough to stay in the first-level cache while time runs over it, so main memory is read and written
// once. Order of operations as in torch_loop.py; compile with -ffp-contract=off, and spikes and potentials are equal to
// its own bit for bit.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#else
static inline int omp_get_thread_num() { return 0; }
#endif

struct Neuron {  // the same fields in the same order as Neuron in native.py
    int32_t charge, hard, detach, surrogate;
    float decay, threshold, reset, a, b;  // decay: 1/tau, or tau where the charge divides; reset: 0 if soft
};

enum Charge { ADD, DECAY_INPUT, DECAY, DECAY_INPUT_DIVIDE, DECAY_DIVIDE };

struct bf16 { uint16_t bits; };

static inline float load(const float* p) { return *p; }
static inline float load(const bf16* p) {
    const uint32_t u = uint32_t(p->bits) << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline void store(float* p, float f) { *p = f; }
static inline void store(bf16* p, float f) {  // to the nearest, ties to even; NaN stays NaN
    uint32_t u;
    memcpy(&u, &f, 4);
    const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    p->bits = uint16_t(f != f ? 0x7fc0 : rounded);
}
static inline void fire(float* p, bool fires) { *p = fires ? 1.0f : 0.0f; }
static inline void fire(bf16* p, bool fires) { p->bits = fires ? 0x3f80 : 0; }

// Copy a finished row out past the caches: a large output will not be read again soon, and its lines need no fetch.
static inline void stream(void* to, const void* from, int64_t bytes) {
    char* p = static_cast<char*>(to);
    const char* q = static_cast<const char*>(from);
#if defined(__SSE2__)
    const int64_t head = (64 - (reinterpret_cast<uintptr_t>(p) & 63)) & 63;
    if (head <= bytes) {
        memcpy(p, q, head);
        p += head, q += head, bytes -= head;
#if defined(__AVX512F__)
        for (; bytes >= 64; bytes -= 64, p += 64, q += 64)
            _mm512_stream_si512(reinterpret_cast<__m512i*>(p), _mm512_loadu_si512(q));
#else
        for (; bytes >= 16; bytes -= 16, p += 16, q += 16)
            _mm_stream_si128(reinterpret_cast<__m128i*>(p), _mm_loadu_si128(reinterpret_cast<const __m128i*>(q)));
#endif
    }
#endif
    memcpy(p, q, bytes);
}

constexpr int64_t STREAM_FROM = 16 << 20;  // bytes: outputs of this size go past the caches

// Ask for huge pages under a large fresh output: its first writing then costs a few page faults, not ten thousands.
// Smaller ones may share a huge page with the heap around them: they are left alone.
static inline void want_huge_pages(void* p, int64_t bytes) {
#if defined(__linux__)
    if (bytes < 4 << 20) return;
    const uintptr_t page = 4096, first = (reinterpret_cast<uintptr_t>(p) + page - 1) / page * page;
    const uintptr_t last = (reinterpret_cast<uintptr_t>(p) + bytes) / page * page;
    madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

// Longest row (numbers) whose potentials of all T steps stay in the second-level cache. A function of T alone, so that
// sums are taken in the same order with any number of threads.
static inline int64_t row_length(int64_t T) {
    const int64_t fits = 32768 / (T > 0 ? T : 1) / 16 * 16;
    return fits < 64 ? 64 : fits > 1024 ? 1024 : fits;
}

template <class Work> static inline void by_charge(int charge, Work work) {
    switch (charge) {
        case ADD: return work(std::integral_constant<int, ADD>{});
        case DECAY_INPUT: return work(std::integral_constant<int, DECAY_INPUT>{});
        case DECAY: return work(std::integral_constant<int, DECAY>{});
        case DECAY_INPUT_DIVIDE: return work(std::integral_constant<int, DECAY_INPUT_DIVIDE>{});
        default: return work(std::integral_constant<int, DECAY_DIVIDE>{});
    }
}

template <int CHARGE> static inline float charged(float v, float x, float decay, float reset) {
    if constexpr (CHARGE == ADD) return v + x;
    if constexpr (CHARGE == DECAY_INPUT) return v + (x - (v - reset)) * decay;
    if constexpr (CHARGE == DECAY) return (v - (v - reset) * decay) + x;
    if constexpr (CHARGE == DECAY_INPUT_DIVIDE) return v + (x - (v - reset)) / decay;
    return (v - (v - reset) / decay) + x;
}

// What a gradient at h passes to the input and to the potential before.
static inline float input_slope(const Neuron& p) {
    return p.charge == DECAY_INPUT ? p.decay : p.charge == DECAY_INPUT_DIVIDE ? 1.0f / p.decay : 1.0f;
}
static inline float carry_slope(const Neuron& p) {
    return p.charge == ADD ? 1.0f : p.charge <= DECAY ? 1.0f - p.decay : 1.0f - 1.0f / p.decay;
}

static inline void reset_row(const Neuron& p, const float* h, float* v, int64_t n) {
    const float threshold = p.threshold, reset = p.reset;
    const bool hard = p.hard;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) v[i] = h[i] >= threshold ? (hard ? reset : h[i] - threshold) : h[i];
}

// Sum of gh times dh/dq, q = 1/tau of PLIF (times q where the input decays: q (x - v) is h - v). v: before the step.
static inline double decay_gradient(const Neuron& p, const float* gh, const float* h, const float* v, int64_t n) {
    const float reset = p.reset;
    const bool decay_input = p.charge == DECAY_INPUT;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += gh[i] * (decay_input ? h[i] - v[i] : reset - v[i]);
    return sum;
}
