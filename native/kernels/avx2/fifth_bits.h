// The fifth bits of Q5_0 and Q5_1: bit i of a block's 32-bit word belongs to weight i. Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

inline __m256i add_fifth_bits(__m256i nibbles, const uint8_t high[4]) {
  const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202,
                                             0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i bytes = _mm256_shuffle_epi8(broadcast_4(high), byte_of);
  const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
  return _mm256_or_si256(nibbles, _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

}  // namespace
}  // namespace hypura::kernels::avx2
