// How strips multiply on AVX2: sums of two products are int16, and are widened before they can saturate (kSafeSteps of a type). Eight
// rows are the lanes, a step is four weights of each. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

// Steps of a strip: four weights of each of eight rows.
using Steps = const uint8_t (*)[32];

struct PairDots {
  static constexpr uint32_t kGroupPositions = 4;

  // What a strip's weights are larger by than the type's.
  template <typename Type>
  static constexpr int kAdded = 0;

  // Weights as a strip of a 32-weight type holds them.
  template <typename Type>
  static __m256i stored(__m256i weights) {
    return weights;
  }

  // isum[t][i] = a block of 32 weights of strip t times the 32 elements at x[i].
  template <typename Type, int kStrips, int kPositions>
  __attribute__((always_inline)) static void dot_32(const Steps q[kStrips], const int8_t* const x[kPositions],
                                                    __m256i isum[kStrips][kPositions]) {
    __m256i ones[kStrips];
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t) {
      ones[t] = _mm256_set1_epi16(1);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) isum[t][i] = _mm256_setzero_si256();
    }
#pragma GCC unroll 1
    for (int first = 0; first < 8; first += Type::kSafeSteps)
      add_safe_steps<Type, kStrips, kPositions>(q, x, first, ones, isum);
  }

  // isum[t][i] += a sub-block of strip t times the elements at x[i], scaled. scale: of row r in lanes 2 r and 2 r + 1.
  template <typename Type, int kStrips, int kPositions>
  __attribute__((always_inline)) static void add_sub_block(const Steps q[kStrips], const __m256i scale[kStrips],
                                                           const int8_t* const x[kPositions],
                                                           __m256i isum[kStrips][kPositions]) {
#pragma GCC unroll 1
    for (int first = 0; first < Type::kSubBlockSteps; first += Type::kSafeSteps)
      add_safe_steps<Type, kStrips, kPositions>(q, x, first, scale, isum);
  }

 private:
  template <typename Type, int kStrips, int kPositions>
  __attribute__((always_inline)) static void add_safe_steps(const Steps q[kStrips], const int8_t* const x[kPositions], int first,
                                                            const __m256i scale[kStrips],
                                                            __m256i isum[kStrips][kPositions]) {
    __m256i dot[kStrips][kPositions];
#pragma GCC unroll 8
    for (int s = 0; s < Type::kSafeSteps; ++s) {
      __m256i w[kStrips];
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) w[t] = load_32(q[t][first + s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m256i four = broadcast_4(x[i] + 4 * (first + s));
#pragma GCC unroll 2
        for (int t = 0; t < kStrips; ++t) {
          const __m256i pairs = products<Type::kSigned>(w[t], four);
          dot[t][i] = s == 0 ? pairs : _mm256_add_epi16(dot[t][i], pairs);
        }
      }
    }
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t)
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        isum[t][i] = _mm256_add_epi32(isum[t][i], _mm256_madd_epi16(dot[t][i], scale[t]));
  }
};

}  // namespace
}  // namespace hypura::kernels::avx2
