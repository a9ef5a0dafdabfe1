// F32, F16 and BF16 on AVX2: weights widened in registers, sixteen lanes per row and position (rule
// E4).
//
// Tiles of rows x positions share loads and hide the latency of fma: 4 x 1 for one position, 2 x 3
// for more (twelve accumulators of sixteen registers). The last n_cols % 16 elements go through a
// zero-filled copy of the weights and a masked fma; activations of form F32 are padded to sixteen
// floats.
#if defined(__x86_64__)
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/lanes.h"
#include "native/kernels/avx2/strips.h"

namespace hypura::kernels::avx2 {
namespace {

struct F32 {
  using Stored = float;
  static Lanes load(const uint8_t* w) {
    return {_mm256_loadu_ps(reinterpret_cast<const float*>(w)),
            _mm256_loadu_ps(reinterpret_cast<const float*>(w) + 8)};
  }
};

struct F16 {
  using Stored = uint16_t;
  static Lanes load(const uint8_t* w) {
    return {_mm256_cvtph_ps(load_16(w)), _mm256_cvtph_ps(load_16(w + 16))};
  }
};

struct BF16 {
  using Stored = uint16_t;
  static __m256 widen(__m128i halves) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  static Lanes load(const uint8_t* w) { return {widen(load_16(w)), widen(load_16(w + 16))}; }
};

// Of each row, while there is one position: far enough for memory to answer, and little beside L1.
constexpr uint64_t kAheadBytes = 2048;

template <typename Type, int kRows, int kPositions>
inline void tile(const uint8_t* weights, uint64_t row_bytes, uint32_t n_cols,
                 const uint8_t* activations, uint64_t activation_stride, float* out,
                 uint64_t out_stride) {
  const float* x[kPositions];
  Lanes acc[kRows][kPositions];
#pragma GCC unroll 8
  for (int p = 0; p < kPositions; ++p)
    x[p] = reinterpret_cast<const float*>(activations + p * activation_stride);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) acc[r][p] = zero_lanes();

  const uint32_t whole = n_cols / 16 * 16;
  for (uint32_t i = 0; i < whole; i += 16) {
    // Several rows at once hide the sequence of addresses from the hardware's prefetcher: what comes next in them is asked
    // for, and at their end the next tile. Past the last row that memory may not exist, which a prefetch ignores.
    const uint64_t at = i * sizeof(typename Type::Stored);
    const uint64_t ahead = at + kAheadBytes < row_bytes ? kAheadBytes : kAheadBytes + (kRows - 1) * row_bytes;
    Lanes w[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const uint8_t* here = weights + r * row_bytes + at;
      if constexpr (kPositions == 1)
        _mm_prefetch(reinterpret_cast<const char*>(here + ahead), _MM_HINT_T0);
      w[r] = Type::load(here);
    }
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) {
      const __m256 low = _mm256_loadu_ps(x[p] + i), high = _mm256_loadu_ps(x[p] + i + 8);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        acc[r][p].low = _mm256_fmadd_ps(w[r].low, low, acc[r][p].low);
        acc[r][p].high = _mm256_fmadd_ps(w[r].high, high, acc[r][p].high);
      }
    }
  }
  if (const int rest = static_cast<int>(n_cols - whole); rest != 0) {
    const __m256i mask_low = first_lanes(rest), mask_high = first_lanes(rest - 8);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      uint8_t padded[64] = {};
      __builtin_memcpy(padded, weights + r * row_bytes + whole * sizeof(typename Type::Stored),
                       rest * sizeof(typename Type::Stored));
      const Lanes w = Type::load(padded);
#pragma GCC unroll 8
      for (int p = 0; p < kPositions; ++p) {
        Lanes& lanes = acc[r][p];
        lanes.low = masked_fma(w.low, _mm256_loadu_ps(x[p] + whole), lanes.low, mask_low);
        lanes.high = masked_fma(w.high, _mm256_loadu_ps(x[p] + whole + 8), lanes.high, mask_high);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int p = 0; p < kPositions; ++p) out[p * out_stride + r] = fold(acc[r][p]);
}

template <typename Type, int kRows, int kPositions>
inline void all_positions(const uint8_t* weights, uint64_t row_bytes, uint32_t n_cols,
                          const uint8_t* activations, uint64_t activation_stride,
                          uint32_t n_positions, float* out, uint64_t out_stride) {
  uint32_t p = 0;
  for (; p + kPositions <= n_positions; p += kPositions)
    tile<Type, kRows, kPositions>(weights, row_bytes, n_cols, activations + p * activation_stride,
                                  activation_stride, out + p * out_stride, out_stride);
  for (; p < n_positions; ++p)
    tile<Type, kRows, 1>(weights, row_bytes, n_cols, activations + p * activation_stride,
                         activation_stride, out + p * out_stride, out_stride);
}

template <typename Type>
inline void matmul_float(const void* weights, uint32_t n_cols, RowRange rows,
                         const void* activations, uint64_t activation_stride, uint32_t n_positions,
                         float* out, uint64_t out_stride) {
  const uint64_t row_bytes = static_cast<uint64_t>(n_cols) * sizeof(typename Type::Stored);
  const uint8_t* w = static_cast<const uint8_t*>(weights);
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  if (n_positions == 1) {
    for (; rows.begin + 4 <= rows.end; rows.begin += 4)
      tile<Type, 4, 1>(w + rows.begin * row_bytes, row_bytes, n_cols, a, activation_stride, out + rows.begin, out_stride);
  }
  // Positions whose activations stay in L2 while all rows meet them (strips.h).
  uint32_t pass = n_positions;
  if (n_positions > 6) {
    const uint64_t near = kPassBytes / activation_stride / 3 * 3;
    pass = near < 6 ? 6 : near < n_positions ? static_cast<uint32_t>(near) : n_positions;
  }
  for (uint32_t p = 0; p < n_positions; p += pass) {
    const uint32_t n = n_positions - p < pass ? n_positions - p : pass;
    const uint8_t* x = a + p * activation_stride;
    float* y = out + p * out_stride;
    uint32_t r = rows.begin;
    for (; r + 2 <= rows.end; r += 2)
      all_positions<Type, 2, 3>(w + r * row_bytes, row_bytes, n_cols, x, activation_stride, n, y + r, out_stride);
    for (; r < rows.end; ++r)
      all_positions<Type, 1, 3>(w + r * row_bytes, row_bytes, n_cols, x, activation_stride, n, y + r, out_stride);
  }
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

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
