// Sixteen e^x at once: the same polynomial and order as scalar/exp.h, where it is explained. Internal
// linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

namespace hypura::kernels::avx512vnni {
namespace {

[[maybe_unused]] inline __m512 exp16(__m512 x) {
  // max and min return their second operand when one is NaN, which keeps NaN.
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
  x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
  const __m512 round = _mm512_set1_ps(12582912.0f);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(0x1.715476p+0f), round);
  const __m512 n = _mm512_sub_ps(shifted, round);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145751953125f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
  __m512 g = _mm512_set1_ps(0x1.6a23dp-10f);
  g = _mm512_fmadd_ps(g, r, _mm512_set1_ps(0x1.123a2p-7f));
  g = _mm512_fmadd_ps(g, r, _mm512_set1_ps(0x1.5558f2p-5f));
  g = _mm512_fmadd_ps(g, r, _mm512_set1_ps(0x1.555492p-3f));
  g = _mm512_fmadd_ps(g, r, _mm512_set1_ps(0x1.fffffcp-2f));
  const __m512 p = _mm512_add_ps(_mm512_fmadd_ps(g, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  const __m512i power = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_castps_si512(round));
  const __m512i first = _mm512_srai_epi32(power, 1);
  const __m512i rest = _mm512_sub_epi32(power, first);
  const __m512i bias = _mm512_set1_epi32(127);
  const __m512i scale_first = _mm512_slli_epi32(_mm512_add_epi32(first, bias), 23);
  const __m512i scale_rest = _mm512_slli_epi32(_mm512_add_epi32(rest, bias), 23);
  return _mm512_mul_ps(_mm512_mul_ps(p, _mm512_castsi512_ps(scale_first)),
                       _mm512_castsi512_ps(scale_rest));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
