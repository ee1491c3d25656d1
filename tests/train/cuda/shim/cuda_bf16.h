// bfloat16 with the names of cuda_bf16.h.
#pragma once
#include "cuda_cpu.h"

struct __nv_bfloat16 {
    static constexpr const char* name = "bfloat16";
    uint16_t bits;
};

static inline float __bfloat162float(__nv_bfloat16 value) {
    const uint32_t bits = (uint32_t)value.bits << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}

static inline __nv_bfloat16 __float2bfloat16_rn(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (std::isnan(value)) return {0x7fff};
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
