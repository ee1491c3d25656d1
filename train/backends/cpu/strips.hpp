// How images are cut into parts short enough for the caches, and how the rows of such a part come and go.
#pragma once
#include "rows.hpp"

#include <algorithm>

struct Block {  // the same fields in the same order as Block in native.py
    int64_t T, B, H, W, C;
    int32_t pool, threads, still;  // still: y is one step, the same at every t
    int64_t steps() const { return still ? 1 : T; }  // that y has
};

struct Strip {
    int64_t image, line, column;  // of the batch; of the image, twice the pooled one; in pixels
    int64_t lines, columns;       // 1 or 2; pixels in each line
    int64_t pooled;               // outputs, each of two columns; 0 where a single line is left over
};

// How the images are cut into strips; a function of the shapes alone.
struct Cut {
    int64_t lines, width, columns, across, down, count;  // lines taken at a time, pixels a line, pixels a strip
    int64_t H, W;
    bool pool;

    explicit Cut(const Block& s) : H(s.pool ? s.H : 1), W(s.pool ? s.W : s.H * s.W), pool(s.pool) {
        lines = pool ? 2 : 1;
        const int64_t fits = row_length(s.T) / (lines * (s.C ? s.C : 1)) / 2 * 2;
        columns = fits < 2 ? 2 : fits;
        across = (W + columns - 1) / columns;
        down = (H + lines - 1) / lines;
        count = s.B * down * across;
    }
    Strip operator[](int64_t i) const {
        Strip strip;
        strip.column = i % across * columns;
        strip.line = i / across % down * lines;
        strip.image = i / across / down;
        strip.lines = std::min(lines, H - strip.line);
        strip.columns = std::min(columns, W - strip.column);
        strip.pooled = pool && strip.lines == 2 ? strip.columns / 2 : 0;
        return strip;
    }
};

// One number a channel, repeated for each pixel of a strip: loops then run over pixels and channels alike.
static inline std::vector<float> repeated(const float* channels, int64_t C, int64_t pixels) {
    std::vector<float> row(C * pixels);
    for (int64_t i = 0; i < C * pixels; ++i) row[i] = channels[i % C];
    return row;
}

// The strip's next time step lies a whole batch of images behind, where the processor does not look by itself.
static inline void prefetch(const void* p, int64_t bytes) {
#if defined(__GNUC__)
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(p) + i);
#else
    (void)p, (void)bytes;
#endif
}

// Round a finished row to where it belongs. Rounding to bfloat16 in one instruction differs from ``store`` in numbers
// below 1.2e-38 alone, which become 0.
static inline void finish(const float* from, float* to, float*, int64_t n, bool past_cache) {
    if (past_cache) stream(to, from, n * 4);
    else memcpy(to, from, n * 4);
}
static inline void finish(const float* from, bf16* to, bf16* rounded, int64_t n, bool past_cache) {
    bf16* row = past_cache ? rounded : to;
    int64_t i = 0;
#if defined(__AVX512BF16__)
    for (; i + 32 <= n; i += 32) {
        const __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + i + 16), _mm512_loadu_ps(from + i));
        memcpy(row + i, &pair, 64);
    }
#endif
    for (; i < n; ++i) store(row + i, from[i]);
    if (past_cache) stream(to, rounded, n * 2);
}

static inline void add_row(const float* from, float* to, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}
