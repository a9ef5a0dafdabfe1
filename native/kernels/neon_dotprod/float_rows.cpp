// F32, F16 and BF16 on NEON: weights widened in registers, sixteen lanes per row and position (rule
// E4).
//
// Tiles of rows x positions share loads and hide the latency of fma: 4 x 1 for one position, 2 x 2
// for more (sixteen accumulators of thirty-two registers). The last n_cols % 16 elements go through a
// zero-filled copy of the weights and a masked fma; activations of form F32 are padded to sixteen
// floats.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {
namespace {

struct F32 {
  using Stored = float;
  static Lanes load(const uint8_t* w) {
    Lanes lanes;
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) lanes.four[i] = vreinterpretq_f32_u8(vld1q_u8(w + 16 * i));
    return lanes;
  }
};

template <float32x4_t (*kWiden)(uint16x4_t)>
struct Halves {
  using Stored = uint16_t;
  static Lanes load(const uint8_t* w) {
    const uint16x8_t low = vreinterpretq_u16_u8(vld1q_u8(w));
    const uint16x8_t high = vreinterpretq_u16_u8(vld1q_u8(w + 16));
    return {{kWiden(vget_low_u16(low)), kWiden(vget_high_u16(low)), kWiden(vget_low_u16(high)),
             kWiden(vget_high_u16(high))}};
  }
};
using F16 = Halves<widen_halves>;

inline float32x4_t widen_bf16(uint16x4_t halves) {
  return vreinterpretq_f32_u32(vshll_n_u16(halves, 16));
}
using BF16 = Halves<widen_bf16>;

template <typename Type, int kRows, int kPositions>
inline void tile(const uint8_t* weights, uint64_t row_bytes, uint32_t n_cols,
                 const uint8_t* activations, uint64_t activation_stride, float* out,
                 uint64_t out_stride) {
  const float* x[kPositions];
  Lanes acc[kRows][kPositions];
#pragma GCC unroll 4
  for (int p = 0; p < kPositions; ++p)
    x[p] = reinterpret_cast<const float*>(activations + p * activation_stride);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < kPositions; ++p) acc[r][p] = zero_lanes();

  const uint32_t whole = n_cols / 16 * 16;
  for (uint32_t i = 0; i < whole; i += 16) {
    Lanes here[kPositions];
#pragma GCC unroll 4
    for (int p = 0; p < kPositions; ++p) here[p] = load_lanes(x[p] + i);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const Lanes w = Type::load(weights + r * row_bytes + i * sizeof(typename Type::Stored));
#pragma GCC unroll 4
      for (int p = 0; p < kPositions; ++p) add_products(acc[r][p], w, here[p]);
    }
  }
  if (const uint32_t rest = n_cols - whole; rest != 0) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      uint8_t padded[64] = {};
      __builtin_memcpy(padded, weights + r * row_bytes + whole * sizeof(typename Type::Stored),
                       rest * sizeof(typename Type::Stored));
      const Lanes w = Type::load(padded);
#pragma GCC unroll 4
      for (int p = 0; p < kPositions; ++p)
        add_products(acc[r][p], w, load_lanes(x[p] + whole), rest);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
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
  uint32_t r = rows.begin;
  if (n_positions == 1)
    for (; r + 4 <= rows.end; r += 4)
      tile<Type, 4, 1>(w + r * row_bytes, row_bytes, n_cols, a, activation_stride, out + r,
                       out_stride);
  for (; r + 2 <= rows.end; r += 2)
    all_positions<Type, 2, 2>(w + r * row_bytes, row_bytes, n_cols, a, activation_stride,
                              n_positions, out + r, out_stride);
  for (; r < rows.end; ++r)
    all_positions<Type, 1, 2>(w + r * row_bytes, row_bytes, n_cols, a, activation_stride,
                              n_positions, out + r, out_stride);
}

}  // namespace

void matmul_f32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<F32>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_f16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<F16>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}
void matmul_bf16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<BF16>(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
