// Q5_0 on AVX2. Weights stay unsigned, 0..31, and 16 * (sum of a) is subtracted per block. Pair sums
// are at most 2 * 31 * 127 = 7,874; four steps of a strip, 31,496, are safe and five are not. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/fifth_bits.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q5_0 {
  using Block = BlockQ5_0;
  static constexpr int kOffset = 16;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = false;
  static constexpr int kSafeSteps = 4;

  static __m256i weights(const Block& w) { return add_fifth_bits(nibbles(w.low), w.high); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
