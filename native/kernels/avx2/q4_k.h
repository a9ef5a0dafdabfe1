// Q4_K on AVX2. Each nibble vector of 32 bytes is one sub-block: int16 pair sums are at most 2 * 15
// * 127 = 3,810, eight steps of a strip 30,480: both below 32,767. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/scales_6bit.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct Q4K {
  using Block = BlockQ4K;
  static constexpr int kMins = 8;
  static constexpr int kOffset = 0;
  static constexpr bool kSigned = false;
  static constexpr int kSubBlockSteps = 8;
  static constexpr int kSafeSteps = 8;

  static uint32_t halves(const Block& w) { return load_u32(w.d); }

  template <int kPair>
  static __m256i dot_pair(const Block& w, const ActivationA256& a, __m256i scales) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i bytes = load_32(w.low + 32 * kPair);
    const __m256i low =
        _mm256_maddubs_epi16(_mm256_and_si256(bytes, nibble), load_32(a.q + 64 * kPair));
    const __m256i high = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble),
                                              load_32(a.q + 64 * kPair + 32));
    return _mm256_add_epi32(_mm256_madd_epi16(low, broadcast_lane<2 * kPair>(scales)),
                            _mm256_madd_epi16(high, broadcast_lane<2 * kPair + 1>(scales)));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i scales = _mm256_broadcastsi128_si256(widen_8(unpack_scales(w.scales).scale));
    return _mm256_add_epi32(_mm256_add_epi32(dot_pair<0>(w, a, scales), dot_pair<1>(w, a, scales)),
                            _mm256_add_epi32(dot_pair<2>(w, a, scales), dot_pair<3>(w, a, scales)));
  }

  static __m128i mins(const Block& w, const ActivationA256& a) {
    return dot_mins(unpack_scales(w.scales).min, a);
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int r = 0; r < 8; ++r) store_scales(unpack_scales(row[r * stride].scales), r, strip);
    for (int pair = 0; pair < 4; ++pair) {
      __m256i v[8];
      for (int r = 0; r < 8; ++r) v[r] = load_32(row[r * stride].low + 32 * pair);
      transpose_8x8(v);
      __m256i* low = reinterpret_cast<__m256i*>(strip.q[16 * pair]);
      for (int s = 0; s < 8; ++s) {
        _mm256_store_si256(low + s, _mm256_and_si256(v[s], nibble));
        _mm256_store_si256(low + 8 + s, _mm256_and_si256(_mm256_srli_epi16(v[s], 4), nibble));
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
