// Q6_K on AVX2. Weights stay unsigned, 0..63, and 32 * sum_j scale_j * sum16_j is subtracted once
// per block. Int16 pair sums are at most 2 * 63 * 127 = 16,002; two steps of a strip, 32,004, are
// safe and three are not. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx2 {
namespace {

// Group kGroup (0-3) of a half: 32 weights from its nibbles and from bits 2 kGroup of the high
// bytes.
template <int kGroup>
inline __m256i weights_of(__m256i low, __m256i high) {
  const __m256i nibble =
      _mm256_and_si256(kGroup < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
  const __m256i moved = kGroup < 2 ? _mm256_slli_epi16(high, 4 - 2 * kGroup)
                                   : _mm256_srli_epi16(high, 2 * kGroup - 4);
  return _mm256_or_si256(nibble, _mm256_and_si256(moved, _mm256_set1_epi8(48)));
}

struct Q6K {
  using Block = BlockQ6K;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 32;
  static constexpr bool kSigned = false;
  static constexpr int kSubBlockSteps = 4;
  static constexpr int kSafeSteps = 2;

  static uint32_t halves(const Block& w) { return load_u16(w.d); }

  template <int kGroup>
  static __m256i dot_group(__m256i low, __m256i high, const int8_t* a, __m256i scales) {
    return apply_scales<kGroup>(
        _mm256_maddubs_epi16(weights_of<kGroup>(low, high), load_32(a)), scales);
  }

  template <int kHalf>
  static __m256i dot_half(const Block& w, const ActivationA256& a, __m256i scales16) {
    const __m256i low0 = load_32(w.low + 64 * kHalf), low1 = load_32(w.low + 64 * kHalf + 32);
    const __m256i high = load_32(w.high + 32 * kHalf);
    const __m256i scales = scales_of_half<kHalf>(scales16);
    const int8_t* q = a.q + 128 * kHalf;
    return _mm256_add_epi32(_mm256_add_epi32(dot_group<0>(low0, high, q, scales),
                                             dot_group<1>(low1, high, q + 32, scales)),
                            _mm256_add_epi32(dot_group<2>(low0, high, q + 64, scales),
                                             dot_group<3>(low1, high, q + 96, scales)));
  }

  static __m256i dot(const Block& w, const ActivationA256& a) {
    const __m256i scales = _mm256_cvtepi8_epi16(load_16(w.scales));
    const __m256i offset = _mm256_madd_epi16(scales, load_32(a.sum16));
    return _mm256_sub_epi32(_mm256_add_epi32(dot_half<0>(w, a, scales), dot_half<1>(w, a, scales)),
                            _mm256_slli_epi32(offset, 5));
  }

  template <int kGroup>
  static void unpack_group(const __m256i low[8], const __m256i high[8], uint8_t (*q)[32]) {
    for (int s = 0; s < 8; ++s)
      _mm256_store_si256(reinterpret_cast<__m256i*>(q[8 * kGroup + s]),
                         weights_of<kGroup>(low[s], high[s]));
  }

  static void unpack(const Block* row, uint64_t stride, Strip& strip) {
    for (int r = 0; r < 8; ++r) {
      const __m256i scales = _mm256_cvtepi8_epi16(load_16(row[r * stride].scales));
      store_scales(scales, r, strip);
      store_pairs(scales, r, strip);
    }
    for (int half = 0; half < 2; ++half) {
      __m256i low0[8], low1[8], high[8];
      for (int r = 0; r < 8; ++r) {
        const Block& w = row[r * stride];
        low0[r] = load_32(w.low + 64 * half);
        low1[r] = load_32(w.low + 64 * half + 32);
        high[r] = load_32(w.high + 32 * half);
      }
      transpose_8x8(low0);
      transpose_8x8(low1);
      transpose_8x8(high);
      uint8_t (*q)[32] = strip.q + 32 * half;
      unpack_group<0>(low0, high, q);
      unpack_group<1>(low1, high, q);
      unpack_group<2>(low0, high, q);
      unpack_group<3>(low1, high, q);
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
