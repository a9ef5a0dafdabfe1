// Q2_K on AVX2. Int16 pair sums are at most 2 * 3 * 127 = 762, the four steps of a sub-block 3,048. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

// Group kGroup (0-3) of a half.
template <int kGroup>
inline __m256i weights_of(__m256i low) {
  return _mm256_and_si256(_mm256_srli_epi16(low, 2 * kGroup), _mm256_set1_epi8(3));
}

struct Q2K {
  using Block = BlockQ2K;
  static constexpr int kMins = 16;
  static constexpr int kOffset = 0;
  static constexpr bool kSigned = false;
  static constexpr int kSubBlockSteps = 4;
  static constexpr int kSafeSteps = 4;

  static uint32_t halves(const Block& w) { return load_u32(w.d); }

  static __m256i scales(const Block& w) {
    return _mm256_cvtepu8_epi16(_mm_and_si128(load_16(w.scales), _mm_set1_epi8(15)));
  }
  static __m256i minima(const Block& w) {
    return _mm256_cvtepu8_epi16(
        _mm_and_si128(_mm_srli_epi16(load_16(w.scales), 4), _mm_set1_epi8(15)));
  }

  template <int kGroup>
  static __m256i dot_group(__m256i low, const int8_t* a, __m256i scales) {
    return apply_scales<kGroup>(
        _mm256_maddubs_epi16(weights_of<kGroup>(low), load_32(a + 32 * kGroup)), scales);
  }

  template <int kHalf>
  static __m256i dot_half(const Block& w, const ActivationA256& a, __m256i scales16) {
    const __m256i low = load_32(w.low + 32 * kHalf), scales = scales_of_half<kHalf>(scales16);
    const int8_t* q = a.q + 128 * kHalf;
    return _mm256_add_epi32(
        _mm256_add_epi32(dot_group<0>(low, q, scales), dot_group<1>(low, q, scales)),
        _mm256_add_epi32(dot_group<2>(low, q, scales), dot_group<3>(low, q, scales)));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i all = scales(w);
    return _mm256_add_epi32(dot_half<0>(w, a, all), dot_half<1>(w, a, all));
  }

  static __m128i mins(const Block& w, const ActivationA256& a) {
    const __m256i sums = _mm256_madd_epi16(minima(w), load_32(a.sum16));
    return _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  }

  template <int kGroup>
  static void unpack_group(const __m256i low[8], uint8_t (*q)[32]) {
    for (int s = 0; s < 8; ++s)
      _mm256_store_si256(reinterpret_cast<__m256i*>(q[8 * kGroup + s]), weights_of<kGroup>(low[s]));
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    for (int r = 0; r < 8; ++r) {
      store_scales(scales(row[r * stride]), r, strip);
      store_pairs(minima(row[r * stride]), r, strip);
    }
    for (int half = 0; half < 2; ++half) {
      __m256i low[8];
      for (int r = 0; r < 8; ++r) low[r] = load_32(row[r * stride].low + 32 * half);
      transpose_8x8(low);
      uint8_t (*q)[32] = strip.q + 32 * half;
      unpack_group<0>(low, q);
      unpack_group<1>(low, q);
      unpack_group<2>(low, q);
      unpack_group<3>(low, q);
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
