// IEEE half precision with the names of cuda_fp16.h, by integer arithmetic, so that any machine can run it.
#pragma once
#include "cuda_cpu.h"

struct __half {
    static constexpr const char* name = "float16";
    uint16_t bits;
};

static inline float __half2float(__half half) {
    const uint32_t sign = (uint32_t)(half.bits & 0x8000) << 16, exponent = half.bits >> 10 & 31, mantissa = half.bits & 1023;
    float value;
    if (exponent == 31) {
        const uint32_t bits = sign | 0x7f800000 | mantissa << 13;
        memcpy(&value, &bits, 4);
        return value;
    }
    value = exponent ? ldexpf((float)(mantissa | 1024), (int)exponent - 25) : ldexpf((float)mantissa, -24);
    return sign ? -value : value;
}

// Round to nearest, ties to even; beyond 65504 + 16 to infinity.
static inline __half __float2half_rn(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    const uint16_t sign = bits >> 16 & 0x8000;
    const float size = fabsf(value);
    if (std::isnan(value)) return {(uint16_t)(sign | 0x7fff)};
    if (size >= 65520.0f) return {(uint16_t)(sign | 0x7c00)};
    if (size < 0x1p-14f) return {(uint16_t)(sign | (uint16_t)nearbyintf(ldexpf(size, 24)))};
    const uint32_t magnitude = bits & 0x7fffffff;
    return {(uint16_t)(sign | (uint16_t)((magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13))};
}
