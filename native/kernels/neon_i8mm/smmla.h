// How smmla multiplies a strip (neon_dotprod/strip.h). Internal linkage (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include "native/kernels/neon_dotprod/strip.h"

namespace hypura::kernels::neon_i8mm {
namespace {

// Bytes: [half of eight weights][pair of rows][row][8]. Register 4 i + j holds rows 2 j and 2 j + 1 by
// positions 2 i and 2 i + 1: {row 0 position 0, row 0 position 1, row 1 position 0, row 1 position 1}.
// A single position takes both places.
struct Smmla {
  static constexpr uint32_t kStripPositionsMin = 2;
  template <int kPositions>
  static constexpr int kRegisters = 4 * ((kPositions + 1) / 2);

  static void arrange(const int8x16_t rows[8], int8_t* q) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const int64x2_t even = vreinterpretq_s64_s8(rows[2 * j]);
      const int64x2_t odd = vreinterpretq_s64_s8(rows[2 * j + 1]);
      vst1q_s8(q + 16 * j, vreinterpretq_s8_s64(vzip1q_s64(even, odd)));
      vst1q_s8(q + 64 + 16 * j, vreinterpretq_s8_s64(vzip2q_s64(even, odd)));
    }
  }

  template <int kPositions>
  [[gnu::always_inline]] static void add_products(const int8_t* q, const int8_t* const* a, int32x4_t* sums) {
    constexpr int kPairs = (kPositions + 1) / 2;
    int8x16_t x[2][kPairs];  // [half]
#pragma GCC unroll 4
    for (int i = 0; i < kPairs; ++i) {
      const int64x2_t first = vreinterpretq_s64_s8(vld1q_s8(a[2 * i]));
      const int64x2_t second =
          2 * i + 1 < kPositions ? vreinterpretq_s64_s8(vld1q_s8(a[2 * i + 1])) : first;
      x[0][i] = vreinterpretq_s8_s64(vzip1q_s64(first, second));
      x[1][i] = vreinterpretq_s8_s64(vzip2q_s64(first, second));
    }
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int8x16_t w = vld1q_s8(q + 64 * half + 16 * j);
#pragma GCC unroll 4
        for (int i = 0; i < kPairs; ++i)
          sums[4 * i + j] = vmmlaq_s32(sums[4 * i + j], w, x[half][i]);
      }
  }

  static neon_dotprod::Spread spread(const int16_t eight[8]) {
    const int16x8_t v = vld1q_s16(eight);
    const int32x4_t low = vmovl_s16(vget_low_s16(v)), high = vmovl_high_s16(v);
    return {{vzip1q_s32(low, low), vzip2q_s32(low, low), vzip1q_s32(high, high),
             vzip2q_s32(high, high)}};
  }
  static constexpr int spread_of(int i) { return i % 4; }

  template <int kPositions>
  static void by_rows(const int32x4_t* sums, int32x4_t (*rows)[2]) {
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int32x4_t low = sums[i / 2 * 4 + 2 * h], high = sums[i / 2 * 4 + 2 * h + 1];
        rows[i][h] = i % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
      }
  }
};

}  // namespace
}  // namespace hypura::kernels::neon_i8mm
