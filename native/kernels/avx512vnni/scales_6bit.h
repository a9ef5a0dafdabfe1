// The twelve scale bytes of Q4_K and Q5_K, decoded with masks on words (scalar/scales_6bit.h says
// what they are): of four rows in one register, of sixteen rows in the lanes of registers. Internal
// linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/four_rows.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

// Of four rows whose blocks begin with d, dmin and the twelve bytes.
struct FourHeads {
  __m128i halves;
  __m128i msum;
  __m512i scale[2];  // of rows 2 i (bytes 0-7) and 2 i + 1 (8-15) in every 128-bit lane

  template <typename Block>
  FourHeads(const Block* const w[4], const ActivationA256& a) {
    const __m512i head = bytes_of_four(w, 0);
    halves = dword_of_lanes<0>(head);
    // Dwords: scales 0-3, 4-7, minima 0-3, 4-7.
    const __m512i low = _mm512_and_si512(
        _mm512_srlv_epi32(_mm512_shuffle_epi32(head, _MM_PERM_DCDB),
                          _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0, 4))),
        _mm512_broadcast_i32x4(_mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f)));
    const __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi32(head, _MM_PERM_CCBB), 2);
    const __m512i bytes = _mm512_ternarylogic_epi64(
        low, high, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x30303030, 0, 0x30303030)), 0xf8);
    msum = sum_lanes(
        _mm512_madd_epi16(_mm512_unpackhi_epi8(bytes, _mm512_setzero_si512()),
                          _mm512_broadcast_i32x4(load_16(a.sum32))));
    scale[0] = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 0, 2, 0, 2, 0, 2), bytes);
    scale[1] = _mm512_permutexvar_epi64(_mm512_setr_epi64(4, 6, 4, 6, 4, 6, 4, 6), bytes);
  }
};

// isum of four rows.
//   dots(row, dot): dot[i] has sums of four products, which fit into int16: of sub-block 4 (i / 2) + i % 2 in the lower 256
//     bits, of the one after the next in the upper ones
template <typename Dots>
inline __m128i sum_dots(const __m512i scale[2], const Dots& dots) {
  // The scale of the first row's sub-block four times, then of the second's.
  const __m512i first =
      join(_mm256_broadcastsi128_si256(_mm_set_epi64x(static_cast<long long>(0x8008800880088008),
                                                      static_cast<long long>(0x8000800080008000))),
           _mm256_broadcastsi128_si256(_mm_set_epi64x(static_cast<long long>(0x800a800a800a800a),
                                                      static_cast<long long>(0x8002800280028002))));
  __m512i sum[2];
#pragma GCC unroll 2
  for (int pair = 0; pair < 2; ++pair) {
    __m512i dot[2][4];
    dots(2 * pair, dot[0]);
    dots(2 * pair + 1, dot[1]);
    sum[pair] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i pick = _mm512_or_si512(first, _mm512_set1_epi16(static_cast<short>(4 * (i / 2) + i % 2)));
      sum[pair] =
          _mm512_dpwssd_epi32(sum[pair], _mm512_packs_epi32(dot[0][i], dot[1][i]),
                              _mm512_shuffle_epi8(scale[pair], pick));
    }
  }
  return sum_rows(sum);
}

// The activations of sub-blocks 4 (i / 2) + i % 2 and, above them, of those after the next.
inline void load_every_other(const ActivationA256& a, __m512i q[4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const int8_t* at = a.q + 128 * (i / 2) + 32 * (i % 2);
    q[i] = join(load_32(at), load_32(at + 64));
  }
}

// d, dmin, scales and mins of sixteen rows whose blocks begin with d, dmin and the twelve bytes.
inline void unpack_head(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
  __m512i head[4];  // d with dmin above it, then the twelve bytes
  load_columns(rows, row_bytes, head);
  _mm512_store_ps(strip.d, widen_halves(head[0]));
  _mm512_store_ps(strip.dmin, widen_halves(_mm512_srli_epi32(head[0], 16)));
  const __m512i nibbles = _mm512_set1_epi32(0x0f0f0f0f), top = _mm512_set1_epi32(0x30303030);
  const __m512i six = _mm512_set1_epi32(0x3f3f3f3f);
  const __m512i scale[2] = {
      _mm512_and_si512(head[1], six),
      _mm512_or_si512(_mm512_and_si512(head[3], nibbles),
                      _mm512_and_si512(_mm512_srli_epi32(head[1], 2), top))};
  const __m512i min[2] = {
      _mm512_and_si512(head[2], six),
      _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(head[3], 4), nibbles),
                      _mm512_and_si512(_mm512_srli_epi32(head[2], 2), top))};
  store_scales<2>(scale, strip);
  store_mins<2>(min, strip);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
