// Q8_0 on AVX2. Pair sums are at most 2 * 128 * 127 = 32,512, so each is widened at once; without the
// sign trick of products() they would saturate. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kOffset = 0;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = true;
  static constexpr int kSafeSteps = 1;

  static __m256i weights(const Block& w) { return load_32(w.q); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
