// Q3_K on AVX2. Weights stay unsigned, 0..7, and 4 * sum_j scale_j * sum16_j is subtracted once per
// block. Int16 pair sums are at most 2 * 7 * 127 = 1,778, the four steps of a sub-block 7,112. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

// Group kGroup (0-3) of half kHalf: two low bits, and bit 4 kHalf + kGroup of the high bytes.
template <int kHalf, int kGroup>
inline __m256i weights_of(__m256i low, __m256i high) {
  constexpr int kBit = 4 * kHalf + kGroup;
  const __m256i two = _mm256_and_si256(_mm256_srli_epi16(low, 2 * kGroup), _mm256_set1_epi8(3));
  const __m256i moved =
      kBit < 2 ? _mm256_slli_epi16(high, 2 - kBit) : _mm256_srli_epi16(high, kBit - 2);
  return _mm256_or_si256(two, _mm256_and_si256(moved, _mm256_set1_epi8(4)));
}

struct Q3K {
  using Block = BlockQ3K;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 4;
  static constexpr bool kSigned = false;
  static constexpr int kSubBlockSteps = 4;
  static constexpr int kSafeSteps = 4;

  static uint32_t halves(const Block& w) { return load_u16(w.d); }

  // As int16, offset taken off.
  static __m256i scales(const Block& w) {
    uint64_t low;
    __builtin_memcpy(&low, w.scales, sizeof low);
    const uint64_t high = load_u32(w.scales + 8), nibbles = 0x0f0f0f0f0f0f0f0f;
    const uint64_t tops = (high | high << 30) & 0x0303030303030303;
    const uint64_t later_tops = (high >> 4 | high << 26) & 0x0303030303030303;
    const __m128i bytes =
        _mm_set_epi64x(static_cast<long long>((low >> 4 & nibbles) | later_tops << 4),
                       static_cast<long long>((low & nibbles) | tops << 4));
    return _mm256_cvtepi8_epi16(_mm_sub_epi8(bytes, _mm_set1_epi8(32)));
  }

  template <int kHalf, int kGroup>
  static __m256i dot_group(__m256i low, __m256i high, const int8_t* a, __m256i scales) {
    const __m256i w = weights_of<kHalf, kGroup>(low, high);
    return apply_scales<kGroup>(_mm256_maddubs_epi16(w, load_32(a + 32 * kGroup)), scales);
  }

  template <int kHalf>
  static __m256i dot_half(const Block& w, const ActivationA256& a, __m256i scales16) {
    const __m256i low = load_32(w.low + 32 * kHalf), high = load_32(w.high);
    const __m256i scales = scales_of_half<kHalf>(scales16);
    const int8_t* q = a.q + 128 * kHalf;
    return _mm256_add_epi32(_mm256_add_epi32(dot_group<kHalf, 0>(low, high, q, scales),
                                             dot_group<kHalf, 1>(low, high, q, scales)),
                            _mm256_add_epi32(dot_group<kHalf, 2>(low, high, q, scales),
                                             dot_group<kHalf, 3>(low, high, q, scales)));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i all = scales(w);
    const __m256i offset = _mm256_madd_epi16(all, load_32(a.sum16));
    return _mm256_sub_epi32(_mm256_add_epi32(dot_half<0>(w, a, all), dot_half<1>(w, a, all)),
                            _mm256_slli_epi32(offset, 2));
  }

  template <int kHalf, int kGroup>
  static void unpack_group(const __m256i low[8], const __m256i high[8], Strip& strip) {
    for (int s = 0; s < 8; ++s)
      _mm256_store_si256(reinterpret_cast<__m256i*>(strip.q[32 * kHalf + 8 * kGroup + s]),
                         weights_of<kHalf, kGroup>(low[s], high[s]));
  }

  template <int kHalf>
  static void unpack_half(const Block* row, uint64_t stride, const __m256i high[8], Strip& strip) {
    __m256i low[8];
    for (int r = 0; r < 8; ++r) low[r] = load_32(row[r * stride].low + 32 * kHalf);
    transpose_8x8(low);
    unpack_group<kHalf, 0>(low, high, strip);
    unpack_group<kHalf, 1>(low, high, strip);
    unpack_group<kHalf, 2>(low, high, strip);
    unpack_group<kHalf, 3>(low, high, strip);
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    __m256i high[8];
    for (int r = 0; r < 8; ++r) {
      const __m256i all = scales(row[r * stride]);
      store_scales(all, r, strip);
      store_pairs(all, r, strip);
      high[r] = load_32(row[r * stride].high);
    }
    transpose_8x8(high);
    unpack_half<0>(row, stride, high, strip);
    unpack_half<1>(row, stride, high, strip);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
