// MXFP4 on AVX2. The table's values are 12 larger, 0..24, so that they are unsigned, and 12 * (sum of a)
// is subtracted per block. Pair sums are at most 2 * 24 * 127 = 6,096, four steps of a strip 24,384. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

inline __m256i values(__m256i nibbles) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_setr_epi8(
                                 12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0)),
                             nibbles);
}

// 2^(e - 128): exponent e - 1 from e = 2 on, of which the subnormals of 0 and 1 are the larger; a
// shift by 2 - e of more than 31, or less than 0, leaves nothing.
inline __m256 powers(__m256i e) {
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i subnormal =
      _mm256_srlv_epi32(_mm256_set1_epi32(0x00800000), _mm256_sub_epi32(_mm256_set1_epi32(2), e));
  return _mm256_castsi256_ps(_mm256_max_epi32(normal, subnormal));
}

struct MXFP4 {
  using Block = BlockMXFP4;
  static constexpr int kOffset = 12;
  static constexpr bool kMins = false;
  static constexpr bool kSigned = false;
  static constexpr int kSafeSteps = 4;

  static __m256i weights(const Block& w) { return values(nibbles(w.low)); }

  static __m256 scales(const Block* w, uint64_t stride) {
    uint64_t e = 0;
#pragma GCC unroll 8
    for (uint32_t i = 0; i < 8; ++i) e |= static_cast<uint64_t>(w[i * stride].e) << 8 * i;
    return powers(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(e))));
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
