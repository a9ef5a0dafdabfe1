// Q5_1 on AVX2: five bits with a minimum. Pair sums as in q5_0.cpp. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/fifth_bits.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q5_1 {
  using Block = BlockQ5_1;
  static constexpr int kOffset = 0;
  static constexpr bool kMins = true;
  static constexpr bool kSigned = false;
  static constexpr int kSafeSteps = 4;

  static __m256i weights(const Block& w) { return add_fifth_bits(nibbles(w.low), w.high); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
  static __m256 mins(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, m)>(w, stride);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
