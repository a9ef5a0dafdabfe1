// How strips multiply on AVX2: sums of two products are int16, and are widened before they can saturate (kSafeSteps of a type). Eight
// rows are the lanes, a step is four weights of each. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

struct PairDots {
  // What a strip's weights are larger by than the type's.
  template <typename Type>
  static constexpr int kAdded = 0;

  // Weights as a strip of a 32-weight type holds them.
  template <typename Type>
  static __m256i stored(__m256i weights) {
    return weights;
  }

  // Steps first .. first + kSafeSteps - 1, as int16.
  template <typename Type, int kPositions>
  static void dot_safe_steps(const uint8_t (*q)[32], const int8_t* const* x, int first, __m256i* dot) {
#pragma GCC unroll 8
    for (int s = first; s < first + Type::kSafeSteps; ++s) {
      const __m256i w = load_32(q[s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m256i pairs = products<Type::kSigned>(w, broadcast_4(x[i] + 4 * s));
        dot[i] = s == first ? pairs : _mm256_add_epi16(dot[i], pairs);
      }
    }
  }

  // isum[i] = a block of 32 weights times the 32 elements at x[i].
  template <typename Type, int kPositions>
  static void dot_32(const uint8_t (*q)[32], const int8_t* const* x, __m256i* isum) {
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) isum[i] = _mm256_setzero_si256();
    for (int first = 0; first < 8; first += Type::kSafeSteps) {
      __m256i dot[kPositions];
      dot_safe_steps<Type, kPositions>(q, x, first, dot);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        isum[i] = _mm256_add_epi32(isum[i], _mm256_madd_epi16(dot[i], _mm256_set1_epi16(1)));
    }
  }

  // isum[i] += a sub-block times the elements at x[i], scaled. scale: of row r in lanes 2 r and 2 r + 1.
  template <typename Type, int kPositions>
  static void add_sub_block(const uint8_t (*q)[32], __m256i scale, const int8_t* const* x, __m256i* isum) {
    for (int first = 0; first < Type::kSubBlockSteps; first += Type::kSafeSteps) {
      __m256i dot[kPositions];
      dot_safe_steps<Type, kPositions>(q, x, first, dot);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) isum[i] = _mm256_add_epi32(isum[i], _mm256_madd_epi16(dot[i], scale));
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
