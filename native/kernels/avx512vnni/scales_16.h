// Integer scales of sixteen sub-blocks of 16 weights (Q2_K, Q3_K, Q6_K), applied in place. Internal
// linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

namespace hypura::kernels::avx512vnni {
namespace {

// dot[i]: sums of four products each that fit into int16, sub-block 4 i + l in the four lanes of its
// 128-bit lane l. Multiplied by the int16 scales; sixteen lanes that sum to isum.
inline __m512i apply_scales(const __m512i dot[4], __m256i scales) {
  // Packing puts sub-block l beside sub-block 4 + l in lane l: their scales, four times each.
  const __m512i pick = _mm512_set_epi64(0x0007000700070007, 0x0003000300030003,
                                        0x0006000600060006, 0x0002000200020002,
                                        0x0005000500050005, 0x0001000100010001,
                                        0x0004000400040004, 0x0000000000000000);
  const __m512i later = _mm512_add_epi16(pick, _mm512_set1_epi16(8));
  const __m512i all = _mm512_castsi256_si512(scales);
  const __m512i first =
      _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(dot[0], dot[1]),
                          _mm512_permutexvar_epi16(pick, all));
  return _mm512_dpwssd_epi32(first, _mm512_packs_epi32(dot[2], dot[3]),
                             _mm512_permutexvar_epi16(later, all));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
