// IQ4_NL on AVX2. Values are signed, |value| at most 127: pair sums are at most 2 * 127 * 127 = 32,258,
// so each is widened at once. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/iq4_values.h"
#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct IQ4NL {
  using Block = BlockIQ4NL;
  static constexpr int kOffset = 0;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = true;
  static constexpr int kSafeSteps = 1;

  static __m256i weights(const Block& w) { return iq4_values(nibbles(w.low)); }

  static __m256 scales(const Block* w, uint64_t stride) {
    return half_fields<__builtin_offsetof(Block, d)>(w, stride);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
