// The sixteen values of IQ4_NL and IQ4_XS (scalar/iq4_values.h). Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

namespace hypura::kernels::avx2 {
namespace {

inline __m256i iq4_values(__m256i nibbles) {
  const __m256i values = _mm256_broadcastsi128_si256(_mm_setr_epi8(
      -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113));
  return _mm256_shuffle_epi8(values, nibbles);
}

}  // namespace
}  // namespace hypura::kernels::avx2
