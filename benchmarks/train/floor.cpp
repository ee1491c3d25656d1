// The least that a layer of neurons can take: forwards one array is read and one written, backwards two are read and one
// written; past the caches, since the arrays are larger.
#include <cstdint>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

static inline void put(float* to, const float* row) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, _mm512_loadu_ps(row));
#elif defined(__SSE2__)
    for (int k = 0; k < 16; k += 4) _mm_stream_ps(to + k, _mm_loadu_ps(row + k));
#else
    for (int k = 0; k < 16; ++k) to[k] = row[k];
#endif
}

extern "C" void floor_step(const float* a, const float* b, float* to, int64_t n, int threads) {
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += 16) put(to + i, a + i);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n; i += 16) {
            float row[16];
            for (int k = 0; k < 16; ++k) row[k] = a[i + k] + b[i + k];
            put(to + i, row);
        }
    }
}
