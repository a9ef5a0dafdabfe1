// F32, F16 and BF16 on AVX-512: weights widened in registers, the sixteen lanes of rule E4 in one.
//
// Tiles of rows x positions share loads and hide the latency of fma: 4 x 1 for one position, 4 x 6
// for more (24 accumulators of 32 registers). A tile's positions stay while the rows pass: a piece
// of work has few rows and, with many positions, much more activation than weight. The last
// n_cols % 16 elements are masked loads of weights and a masked fma; activations of form F32 are
// padded to sixteen floats.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct F32 {
  using Stored = float;
  static __m512 load(const uint8_t* w) { return _mm512_loadu_ps(w); }
  static __m512 load_some(const uint8_t* w, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, w);
  }
};

struct F16 {
  using Stored = uint16_t;
  static __m512 load(const uint8_t* w) { return _mm512_cvtph_ps(load_32(w)); }
  static __m512 load_some(const uint8_t* w, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, w));
  }
};

struct BF16 {
  using Stored = uint16_t;
  static __m512 widen(__m256i halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static __m512 load(const uint8_t* w) { return widen(load_32(w)); }
  static __m512 load_some(const uint8_t* w, __mmask16 mask) {
    return widen(_mm256_maskz_loadu_epi16(mask, w));
  }
};

// Adds the upper half to the lower, 16 to 8, 4, 2, 1.
inline float fold(__m512 lanes) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// Of each row, while there is one position: far enough for memory to answer, and little beside L1.
constexpr uint64_t kAheadBytes = 2048;

template <typename Type, int kRows, int kPositions>
inline void tile(const uint8_t* weights, uint64_t row_bytes, uint32_t n_cols,
                 const uint8_t* activations, uint64_t activation_stride, float* out,
                 uint64_t out_stride) {
  const float* x[kPositions];
  __m512 acc[kRows][kPositions];
#pragma GCC unroll 8
  for (int p = 0; p < kPositions; ++p)
    x[p] = reinterpret_cast<const float*>(activations + p * activation_stride);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) acc[r][p] = _mm512_setzero_ps();

  const uint32_t whole = n_cols / 16 * 16;
  for (uint32_t i = 0; i < whole; i += 16) {
    // Several rows at once hide the sequence of addresses from the hardware's prefetcher: what comes next in them is asked
    // for, and at their end the next tile. Past the last row that memory may not exist, which a prefetch ignores.
    const uint64_t at = i * sizeof(typename Type::Stored);
    const uint64_t ahead = at + kAheadBytes < row_bytes ? kAheadBytes : kAheadBytes + (kRows - 1) * row_bytes;
    __m512 w[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const uint8_t* here = weights + r * row_bytes + i * sizeof(typename Type::Stored);
      if constexpr (kPositions == 1)
        _mm_prefetch(reinterpret_cast<const char*>(here + ahead), _MM_HINT_T0);
      w[r] = Type::load(here);
    }
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) {
      const __m512 here = _mm512_loadu_ps(x[p] + i);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) acc[r][p] = _mm512_fmadd_ps(w[r], here, acc[r][p]);
    }
  }
  if (const uint32_t rest = n_cols - whole; rest != 0) {
    const __mmask16 mask = static_cast<__mmask16>((1u << rest) - 1);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 w = Type::load_some(
          weights + r * row_bytes + whole * sizeof(typename Type::Stored), mask);
#pragma GCC unroll 8
      for (int p = 0; p < kPositions; ++p)
        acc[r][p] = _mm512_mask3_fmadd_ps(w, _mm512_loadu_ps(x[p] + whole), acc[r][p], mask);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) out[p * out_stride + r] = fold(acc[r][p]);
}

template <typename Type, int kPositions>
inline void all_rows(const uint8_t* weights, uint64_t row_bytes, uint32_t n_cols, RowRange rows,
                     const uint8_t* activations, uint64_t activation_stride, float* out,
                     uint64_t out_stride) {
  uint32_t r = rows.begin;
  for (; r + 4 <= rows.end; r += 4)
    tile<Type, 4, kPositions>(weights + r * row_bytes, row_bytes, n_cols, activations,
                              activation_stride, out + r, out_stride);
  for (; r < rows.end; ++r)
    tile<Type, 1, kPositions>(weights + r * row_bytes, row_bytes, n_cols, activations,
                              activation_stride, out + r, out_stride);
}

template <typename Type>
inline void matmul_float(const void* weights, uint32_t n_cols, RowRange rows,
                         const void* activations, uint64_t activation_stride, uint32_t n_positions,
                         float* out, uint64_t out_stride) {
  const uint64_t row_bytes = static_cast<uint64_t>(n_cols) * sizeof(typename Type::Stored);
  const uint8_t* w = static_cast<const uint8_t*>(weights);
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t p = 0;
  for (; p + 6 <= n_positions; p += 6)
    all_rows<Type, 6>(w, row_bytes, n_cols, rows, a + p * activation_stride, activation_stride,
                      out + p * out_stride, out_stride);
  for (; p + 2 <= n_positions; p += 2)
    all_rows<Type, 2>(w, row_bytes, n_cols, rows, a + p * activation_stride, activation_stride,
                      out + p * out_stride, out_stride);
  if (p < n_positions)
    all_rows<Type, 1>(w, row_bytes, n_cols, rows, a + p * activation_stride, activation_stride,
                      out + p * out_stride, out_stride);
}

}  // namespace

void matmul_f32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<F32>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                    out_stride);
}
void matmul_f16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<F16>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                    out_stride);
}
void matmul_bf16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_float<BF16>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                     out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
