// IQ4_XS on AVX2. Values are signed, |value| at most 127: pair sums are at most 2 * 127 * 127 = 32,258,
// so each is widened at once, by its scale. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/iq4_values.h"
#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

struct IQ4XS {
  using Block = BlockIQ4XS;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 0;
  static constexpr bool kSigned = true;
  static constexpr int kSubBlockSteps = 8;
  static constexpr int kSafeSteps = 1;

  static uint32_t halves(const Block& w) { return load_u16(w.d); }

  // Eight int16, offset taken off. Multiplying moves field j of a word to its top.
  static __m128i scales(const Block& w) {
    const __m128i head = load_16(&w);  // d, the high word, the low bytes
    const __m128i lows =
        _mm_shuffle_epi8(head, _mm_setr_epi8(4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7));
    const __m128i low = _mm_srli_epi16(
        _mm_mullo_epi16(lows, _mm_setr_epi16(4096, 256, 16, 1, 4096, 256, 16, 1)), 12);
    const __m128i highs = _mm_shuffle_epi8(head, _mm_set1_epi16(0x0302));
    const __m128i high = _mm_srli_epi16(
        _mm_mullo_epi16(highs, _mm_setr_epi16(16384, 4096, 1024, 256, 64, 16, 4, 1)), 14);
    return _mm_sub_epi16(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi16(32));
  }

  template <int kSub>
  static __m256i dot_sub(const Block& w, const ActivationA256& a, __m256i scales) {
    const __m256i values = iq4_values(nibbles(w.low + 16 * kSub));
    return _mm256_madd_epi16(products<true>(values, load_32(a.q + 32 * kSub)),
                             broadcast_lane<kSub>(scales));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i all = _mm256_broadcastsi128_si256(scales(w));
    return _mm256_add_epi32(
        _mm256_add_epi32(_mm256_add_epi32(dot_sub<0>(w, a, all), dot_sub<1>(w, a, all)),
                         _mm256_add_epi32(dot_sub<2>(w, a, all), dot_sub<3>(w, a, all))),
        _mm256_add_epi32(_mm256_add_epi32(dot_sub<4>(w, a, all), dot_sub<5>(w, a, all)),
                         _mm256_add_epi32(dot_sub<6>(w, a, all), dot_sub<7>(w, a, all))));
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    for (int r = 0; r < 8; ++r) {
      alignas(16) int16_t each[8];
      _mm_store_si128(reinterpret_cast<__m128i*>(each), scales(row[r * stride]));
      for (int j = 0; j < 8; ++j) strip.scale[j][2 * r] = strip.scale[j][2 * r + 1] = each[j];
    }
    for (int j = 0; j < 8; ++j) {
      __m256i v[8];
      for (int r = 0; r < 8; ++r) v[r] = nibbles(row[r * stride].low + 16 * j);
      transpose_8x8(v);
      for (int s = 0; s < 8; ++s)
        _mm256_store_si256(reinterpret_cast<__m256i*>(strip.q[8 * j + s]), iq4_values(v[s]));
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
