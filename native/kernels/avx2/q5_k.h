// Q5_K on AVX2: as Q4_K with a fifth bit. Int16 pair sums are at most 2 * 31 * 127 = 7,874; four
// steps of a strip, 31,496, are safe and five are not. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/scales_6bit.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

// Bit kBit of each byte, moved to bit 4. Shifts are of words; the mask drops what crossed a byte.
template <int kBit>
inline __m256i fifth_bit(__m256i bytes) {
  const __m256i moved =
      kBit < 4 ? _mm256_slli_epi16(bytes, 4 - kBit) : _mm256_srli_epi16(bytes, kBit - 4);
  return _mm256_and_si256(moved, _mm256_set1_epi8(16));
}

struct Q5K {
  using Block = BlockQ5K;
  static constexpr int kMins = 8;
  static constexpr int kOffset = 0;
  static constexpr bool kSigned = false;
  static constexpr int kSubBlockSteps = 8;
  static constexpr int kSafeSteps = 4;

  static uint32_t halves(const Block& w) { return load_u32(w.d); }

  // Sub-blocks 2 kPair and 2 kPair + 1 of the bytes that hold them.
  template <int kPair>
  static __m256i first(__m256i low, __m256i high) {
    return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi8(15)), fifth_bit<2 * kPair>(high));
  }
  template <int kPair>
  static __m256i second(__m256i low, __m256i high) {
    return _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), _mm256_set1_epi8(15)),
                           fifth_bit<2 * kPair + 1>(high));
  }

  template <int kPair>
  static __m256i dot_pair(const Block& w, const ActivationA256& a, __m256i high, __m256i scales) {
    const __m256i low = load_32(w.low + 32 * kPair);
    const __m256i dot0 = _mm256_maddubs_epi16(first<kPair>(low, high), load_32(a.q + 64 * kPair));
    const __m256i dot1 =
        _mm256_maddubs_epi16(second<kPair>(low, high), load_32(a.q + 64 * kPair + 32));
    return _mm256_add_epi32(_mm256_madd_epi16(dot0, broadcast_lane<2 * kPair>(scales)),
                            _mm256_madd_epi16(dot1, broadcast_lane<2 * kPair + 1>(scales)));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i scales = _mm256_broadcastsi128_si256(widen_8(unpack_scales(w.scales).scale));
    const __m256i high = load_32(w.high);
    return _mm256_add_epi32(
        _mm256_add_epi32(dot_pair<0>(w, a, high, scales), dot_pair<1>(w, a, high, scales)),
        _mm256_add_epi32(dot_pair<2>(w, a, high, scales), dot_pair<3>(w, a, high, scales)));
  }

  static __m128i mins(const Block& w, const ActivationA256& a) {
    return dot_mins(unpack_scales(w.scales).min, a);
  }

  template <int kPair>
  static void unpack_pair(const Block* row, uint64_t stride, const __m256i high[8], Strip& strip) {
    __m256i v[8];
    for (int r = 0; r < 8; ++r) v[r] = load_32(row[r * stride].low + 32 * kPair);
    transpose_8x8(v);
    __m256i* q = reinterpret_cast<__m256i*>(strip.q[16 * kPair]);
    for (int s = 0; s < 8; ++s) {
      _mm256_store_si256(q + s, first<kPair>(v[s], high[s]));
      _mm256_store_si256(q + 8 + s, second<kPair>(v[s], high[s]));
    }
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    __m256i high[8];
    for (int r = 0; r < 8; ++r) {
      store_scales(unpack_scales(row[r * stride].scales), r, strip);
      high[r] = load_32(row[r * stride].high);
    }
    transpose_8x8(high);
    unpack_pair<0>(row, stride, high, strip);
    unpack_pair<1>(row, stride, high, strip);
    unpack_pair<2>(row, stride, high, strip);
    unpack_pair<3>(row, stride, high, strip);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
