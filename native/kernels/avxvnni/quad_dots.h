// How strips multiply on AVX-VNNI: dpbusd adds four products to an int32, exactly, so that nothing has to be widened. What avx2/pair_dots.h says of the functions holds here. Internal linkage
// (avxvnni.h).
//
// dpbusd wants one unsigned operand. A strip of a signed 32-weight type holds w + 128, and 128 * (sum of a) is subtracted; IQ4_XS, the
// signed type of 256, gives |w|, and the sign of w moves to the activation, which is never -128.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx2/lanes.h"
#include "native/kernels/avx2/pair_dots.h"

namespace hypura::kernels::avxvnni {
namespace {

struct QuadDots {
  // Twelve sums of two strips hide the latency of dpbusd.
  static constexpr uint32_t kGroupPositions = 6;

  template <typename Type>
  static constexpr int kAdded = Type::kSigned ? 128 : 0;

  template <typename Type>
  static __m256i stored(__m256i weights) {
    return Type::kSigned ? _mm256_xor_si256(weights, _mm256_set1_epi8(static_cast<char>(0x80))) : weights;
  }

  template <typename Type, int kStrips, int kPositions>
  __attribute__((always_inline)) static void dot_32(const avx2::Steps q[kStrips], const int8_t* const x[kPositions],
                                                    __m256i isum[kStrips][kPositions]) {
    dot_steps<8, false, kStrips, kPositions>(q, x, isum);
  }

  template <typename Type, int kStrips, int kPositions>
  __attribute__((always_inline)) static void add_sub_block(const avx2::Steps q[kStrips], const __m256i scale[kStrips],
                                                           const int8_t* const x[kPositions],
                                                           __m256i isum[kStrips][kPositions]) {
    __m256i dot[kStrips][kPositions];
    dot_steps<Type::kSubBlockSteps, Type::kSigned, kStrips, kPositions>(q, x, dot);
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t) {
      const __m256i factor = _mm256_srai_epi32(scale[t], 16);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        isum[t][i] = _mm256_add_epi32(isum[t][i], _mm256_mullo_epi32(dot[t][i], factor));
    }
  }

 private:
  template <int kSteps, bool kSigned, int kStrips, int kPositions>
  __attribute__((always_inline)) static void dot_steps(const avx2::Steps q[kStrips], const int8_t* const x[kPositions],
                                                       __m256i dot[kStrips][kPositions]) {
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t)
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) dot[t][i] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) {
      __m256i w[kStrips];
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) w[t] = avx2::load_32(q[t][s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m256i four = avx2::broadcast_4(x[i] + 4 * s);
#pragma GCC unroll 2
        for (int t = 0; t < kStrips; ++t) {
          if constexpr (kSigned)
            dot[t][i] = _mm256_dpbusd_avx_epi32(dot[t][i], _mm256_abs_epi8(w[t]), _mm256_sign_epi8(four, w[t]));
          else
            dot[t][i] = _mm256_dpbusd_avx_epi32(dot[t][i], w[t], four);
        }
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avxvnni
