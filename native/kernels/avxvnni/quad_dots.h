// How strips multiply on AVX-VNNI: dpbusd adds four products to an int32, exactly, so that nothing has to be widened. Two sums per
// position, of even and odd steps, hide its latency. What avx2/pair_dots.h says of the functions holds here. Internal linkage
// (avxvnni.h).
//
// dpbusd wants one unsigned operand. A strip of a signed 32-weight type holds w + 128, and 128 * (sum of a) is subtracted; IQ4_XS, the
// signed type of 256, gives |w|, and the sign of w moves to the activation, which is never -128.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avxvnni {
namespace {

struct QuadDots {
  template <typename Type>
  static constexpr int kAdded = Type::kSigned ? 128 : 0;

  template <typename Type>
  static __m256i stored(__m256i weights) {
    return Type::kSigned ? _mm256_xor_si256(weights, _mm256_set1_epi8(static_cast<char>(0x80))) : weights;
  }

  template <int kSteps, bool kSigned, int kPositions>
  static void dot_steps(const uint8_t (*q)[32], const int8_t* const* x, __m256i* dot) {
    __m256i odd[kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) dot[i] = odd[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      const __m256i w = avx2::load_32(q[s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        __m256i& sum = s % 2 == 0 ? dot[i] : odd[i];
        const __m256i four = avx2::broadcast_4(x[i] + 4 * s);
        if constexpr (kSigned)
          sum = _mm256_dpbusd_avx_epi32(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(four, w));
        else
          sum = _mm256_dpbusd_avx_epi32(sum, w, four);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) dot[i] = _mm256_add_epi32(dot[i], odd[i]);
  }

  template <typename Type, int kPositions>
  static void dot_32(const uint8_t (*q)[32], const int8_t* const* x, __m256i* isum) {
    dot_steps<8, false, kPositions>(q, x, isum);
  }

  template <typename Type, int kPositions>
  static void add_sub_block(const uint8_t (*q)[32], __m256i scale, const int8_t* const* x, __m256i* isum) {
    __m256i dot[kPositions];
    dot_steps<Type::kSubBlockSteps, Type::kSigned, kPositions>(q, x, dot);
    const __m256i factor = _mm256_srai_epi32(scale, 16);
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) isum[i] = _mm256_add_epi32(isum[i], _mm256_mullo_epi32(dot[i], factor));
  }
};

}  // namespace
}  // namespace hypura::kernels::avxvnni
