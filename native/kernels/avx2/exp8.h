// Eight e^x at once: the same polynomial and order as scalar/exp.h, where it is explained. Internal
// linkage (avx2.h).
#pragma once

#include <immintrin.h>

namespace hypura::kernels::avx2 {
namespace {

[[maybe_unused]] inline __m256 exp8(__m256 x) {
  // max and min return their second operand when one is NaN, which keeps NaN.
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
  const __m256 round = _mm256_set1_ps(12582912.0f);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), round);
  const __m256 n = _mm256_sub_ps(shifted, round);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145751953125f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
  __m256 g = _mm256_set1_ps(0x1.6a23dp-10f);
  g = _mm256_fmadd_ps(g, r, _mm256_set1_ps(0x1.123a2p-7f));
  g = _mm256_fmadd_ps(g, r, _mm256_set1_ps(0x1.5558f2p-5f));
  g = _mm256_fmadd_ps(g, r, _mm256_set1_ps(0x1.555492p-3f));
  g = _mm256_fmadd_ps(g, r, _mm256_set1_ps(0x1.fffffcp-2f));
  const __m256 p = _mm256_add_ps(_mm256_fmadd_ps(g, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  const __m256i power = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_castps_si256(round));
  const __m256i first = _mm256_srai_epi32(power, 1);
  const __m256i rest = _mm256_sub_epi32(power, first);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256i scale_first = _mm256_slli_epi32(_mm256_add_epi32(first, bias), 23);
  const __m256i scale_rest = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(scale_first)),
                       _mm256_castsi256_ps(scale_rest));
}

}  // namespace
}  // namespace hypura::kernels::avx2
