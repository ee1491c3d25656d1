// The derivative of every surrogate: formulas of train/surrogate.py, numbers of DERIVATIVES in plan.py.
#pragma once
#include "rows.hpp"

// e^x to 2 units in the last place, without a call, so that loops over it are vectorised. Cody and Waite's reduction
// (Software Manual for the Elementary Functions, 1980), then the Taylor polynomial on |r| <= ln(2)/2.
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float e = 1.0f / 5040;
    e = e * r + 1.0f / 720;
    e = e * r + 1.0f / 120;
    e = e * r + 1.0f / 24;
    e = e * r + 1.0f / 6;
    e = e * r + 0.5f;
    e = (e * r) * r + r + 1.0f;
    const int32_t bits = (int32_t(n == n ? n : 0.0f) + 127) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return e * scale;
}

static inline float magnitude(float u) { return u < 0 ? -u : u; }

static inline float logistic_slope(float u, float a) {  // a S (1 - S), and 1 - S(u) = S(-u) loses no digits
    const float e = exponential(-a * magnitude(u));
    return a * e / ((1.0f + e) * (1.0f + e));
}

// Work with the derivative as a function of u = h - threshold, so that the loop it is called in is vectorised with it.
template <class Work> static inline void by_surrogate(const Neuron& p, Work work) {
    const float a = p.a, b = p.b;
    constexpr float pi = 3.14159265358979f, sqrt_pi = 1.77245385090552f;
    switch (p.surrogate) {
        case 0: return work([=](float u) { return logistic_slope(u, a); });
        case 1: return work([=](float u) { u *= pi / 2 * a; return a / 2 / (1 + u * u); });
        case 2: return work([=](float u) { u = a - a * a * magnitude(u); return u < 0 ? 0 : u; });
        case 3: return work([=](float u) { return a / 2 * exponential(-a * magnitude(u)); });
        case 4: return work([=](float u) { u = 1 + a * magnitude(u); return a / 2 / (u * u); });
        case 5: return work([=](float u) { u = 1 + magnitude(u); return a / (u * u); });
        case 6: return work([=](float u) { u *= a; return a / sqrt_pi * exponential(-u * u); });
        case 7: return work([=](float u) { return 1 / (1 / a + magnitude(u)); });
        case 8: return work([=](float u) { return u >= 0 ? b : a; });
        case 9: return work([=](float u) { return magnitude(u) < a ? 1 / (2 * a) : b; });
        case 10:
            if (a == 2) return work([=](float u) { u = 1 + 2 * magnitude(u); return 1 / (u * u); });
            return work([=](float u) { return powf(1 + 2 / (a - 1) * magnitude(u), -a); });
        case 11:
            return work([=](float u) { return u < 0 ? logistic_slope(u, a) : b / (u + 1); });
        case 12: return work([=](float u) { return magnitude(u) < 0.5f / a ? a : 0.0f; });
        case 13: return work([=](float u) { u = 1 / magnitude(u); return u < a ? u : a; });
        case 14: return work([=](float u) { return u <= 0 ? a : u <= 1 ? 1.0f : 1 / u; });
        case 15:
            return work([=](float u) {
                float sum = 0;
                for (int k = 1; k < 2 * int(a) - 2; k += 2) sum += cosf(k * (2 * pi / b) * u);
                return 4 / b * sum;
            });
        default: return work([](float) { return 1.0f; });
    }
}

static inline void surrogate_row(const Neuron& p, const float* h, float* slope, int64_t n) {
    const float threshold = p.threshold;
    by_surrogate(p, [=](auto slope_at) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) slope[i] = slope_at(h[i] - threshold);
    });
}
