// Q4_0 on AVX2. Nibbles stay unsigned and 8 * (sum of a) is subtracted per block. Pair sums are at
// most 2 * 15 * 127 = 3,810, the eight steps of a strip's block 30,480: widened once. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kOffset = 8;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = false;
  static constexpr int kSafeSteps = 8;

  static __m256i weights(const Block& w) { return nibbles(w.low); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
