// Integer scales of sixteen sub-blocks of 16 weights (Q2_K, Q3_K, Q6_K). Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/k_rows.h"

namespace hypura::kernels::avx2 {
namespace {

// The eight int16 scales of a half of 128 weights, in both halves of the register.
template <int kHalf>
inline __m256i scales_of_half(__m256i scales) {
  return _mm256_permute4x64_epi64(scales, kHalf == 0 ? 0x44 : 0xee);
}

// Group kGroup (0-3) of a half, 32 weights, is sub-blocks 2 kGroup and 2 kGroup + 1: its int16 pair sums
// times their scales.
template <int kGroup>
inline __m256i apply_scales(__m256i pairs, __m256i scales_of_half) {
  constexpr int kFirst = (4 * kGroup + 1) << 8 | 4 * kGroup, kSecond = kFirst + 0x0202;
  const __m256i pick = _mm256_setr_m128i(_mm_set1_epi16(kFirst), _mm_set1_epi16(kSecond));
  return _mm256_madd_epi16(pairs, _mm256_shuffle_epi8(scales_of_half, pick));
}

// Row r's share of a strip's table of scales.
inline void store_scales(__m256i scales, int r, Strip& strip) {
  alignas(32) int16_t each[16];
  _mm256_store_si256(reinterpret_cast<__m256i*>(each), scales);
  for (int j = 0; j < 16; ++j) strip.scale[j][2 * r] = strip.scale[j][2 * r + 1] = each[j];
}

// The same of what is multiplied by the sums of activations: minima, or scales under an offset.
inline void store_pairs(__m256i factors, int r, Strip& strip) {
  alignas(32) int32_t each[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(each), factors);
  for (int i = 0; i < 8; ++i) __builtin_memcpy(&strip.pairs[i][2 * r], &each[i], 4);
}

}  // namespace
}  // namespace hypura::kernels::avx2
