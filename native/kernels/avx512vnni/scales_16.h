// Integer scales of sixteen sub-blocks of 16 weights (Q2_K, Q3_K, Q6_K), of four rows in place. Internal
// linkage (avx512vnni.h).
//
// A type multiplies four vectors per row, of which each 128-bit lane is one sub-block. What belongs to
// sub-blocks lies accordingly, *by lanes*: lane l has four bytes per row, byte i for lane l of vector i.
#pragma once

#include <immintrin.h>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/four_rows.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

// Vectors in the order of the weights: which sub-block is lane l of vector i.
struct InOrder {
  static constexpr int sub_block(int lane, int i) { return 4 * i + lane; }
};
// Vector i has 32 weights of the first 128 and, above them, the same 32 of the others: group kGroup_i.
template <int... kGroup>
struct HalvesAbove {
  static constexpr int sub_block(int lane, int i) {
    constexpr int kGroups[4] = {kGroup...};
    return 8 * (lane / 2) + 2 * kGroups[i] + lane % 2;
  }
};

template <typename Order>
struct OrderIndex {
  alignas(64) uint8_t bytes[64];
  alignas(64) uint16_t words[32];

  static constexpr OrderIndex make() {
    OrderIndex result = {};
    for (int k = 0; k < 64; ++k)
      result.bytes[k] = static_cast<uint8_t>(Order::sub_block(k % 16 / 4, k % 4));
    for (int k = 0; k < 32; ++k)
      result.words[k] = static_cast<uint16_t>(Order::sub_block(k / 8, k % 4));
    return result;
  }
};

// Sixteen bytes of row r in lane r, in the order of the sub-blocks, to bytes by lanes.
template <typename Order>
inline __m512i by_lanes(__m512i bytes) {
  static constexpr OrderIndex<Order> kIndex = OrderIndex<Order>::make();
  return transpose_dwords(_mm512_shuffle_epi8(bytes, load_64(kIndex.bytes)));
}

// The sums of sixteen activations as words by lanes, twice: for two rows.
template <typename Order>
inline __m512i sums_by_lanes(const ActivationA256& a) {
  static constexpr OrderIndex<Order> kIndex = OrderIndex<Order>::make();
  return _mm512_permutexvar_epi16(load_64(kIndex.words), _mm512_castsi256_si512(load_32(a.sum16)));
}

// Adds to sum[pair] the dot products of rows 2 pair and 2 pair + 1, as sum_rows wants them.
//   dots(row, dot): sums of four products, each fits into int16
//   scale[pair]: words by lanes
template <typename Dots>
inline void add_dots(__m512i sum[2], const __m512i scale[2], const Dots& dots) {
  // Word i of the first row four times, then of the second.
  const __m512i first =
      _mm512_broadcast_i32x4(_mm_set_epi64x(0x0908090809080908, 0x0100010001000100));
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    __m512i dot[2][4];
    dots(2 * pair, dot[0]);
    dots(2 * pair + 1, dot[1]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i pick = _mm512_add_epi8(first, _mm512_set1_epi8(static_cast<char>(2 * i)));
      sum[pair] =
          _mm512_dpwssd_epi32(sum[pair], _mm512_packs_epi32(dot[0][i], dot[1][i]),
                              _mm512_shuffle_epi8(scale[pair], pick));
    }
  }
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
