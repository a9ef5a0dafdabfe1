// IQ4_XS on AVX-512 VNNI. The table's values are 128 larger, 1..241, so that they are unsigned: in place
// 128 * sum_j scale_j * sum32_j is subtracted once per block, in a strip each sub-block's sum begins at
// -128 * sum32_j. Before that |isum| is at most 256 * 32 * 241 * 127 = 250,732,544. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/iq4_values.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct IQ4XS {
  using Block = BlockIQ4XS;
  static constexpr int kMins = 0;
  static constexpr int kOffset = kIq4Offset;
  static constexpr int kSubBlockSteps = 8;

  // Eight int16 of row r in 128-bit lane r, offset taken off; head: the first sixteen bytes of four rows.
  static __m512i scales(__m512i head) {  // d, the high word, the low bytes
    const __m512i lows = _mm512_shuffle_epi8(
        head, _mm512_broadcast_i32x4(_mm_setr_epi8(4, 5, 4, 5, 4, 5, 4, 5, 6, 7, 6, 7, 6, 7, 6, 7)));
    const __m512i low = _mm512_and_si512(
        _mm512_srlv_epi16(lows, _mm512_broadcast_i32x4(_mm_setr_epi16(0, 4, 8, 12, 0, 4, 8, 12))),
        _mm512_set1_epi16(15));
    const __m512i highs = _mm512_shuffle_epi8(head, _mm512_set1_epi16(0x0302));
    const __m512i high = _mm512_and_si512(
        _mm512_srlv_epi16(highs, _mm512_broadcast_i32x4(_mm_setr_epi16(0, 2, 4, 6, 8, 10, 12, 14))),
        _mm512_set1_epi16(3));
    return _mm512_sub_epi16(_mm512_or_si512(low, _mm512_slli_epi16(high, 4)),
                            _mm512_set1_epi16(32));
  }

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    // The first sixteen activations of four sub-blocks, and the other sixteen.
    const __m512i first = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13);
    const __m512i second = _mm512_add_epi64(first, _mm512_set1_epi64(2));
    __m512i q[4];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i q0 = load_64(a.q + 128 * h), q1 = load_64(a.q + 128 * h + 64);
      q[2 * h] = _mm512_permutex2var_epi64(q0, first, q1);
      q[2 * h + 1] = _mm512_permutex2var_epi64(q0, second, q1);
    }
    const __m512i head = bytes_of_four(w, 0);
    const __m512i scale = scales(head);
    // Of two rows in lane l: sub-blocks l and 4 + l of the first, then of the second.
    const __m512i order = _mm512_set_epi16(31, 27, 23, 19, 30, 26, 22, 18, 29, 25, 21, 17, 28, 24, 20, 16, 15, 11, 7, 3,
                                           14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512i ordered = _mm512_permutexvar_epi16(order, scale);
    const __m512i each[2] = {
        _mm512_cvtepi16_epi32(_mm512_castsi512_si256(ordered)),
        _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(ordered, 1))};
    __m512i sum[2];
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; ++pair) {
      __m512i dot[4];  // [2 row + h]: sub-block 4 h + l in lane l
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const int h = i % 2;
        const __m512i bytes = load_64_once(w[2 * pair + i / 2]->low + 64 * h);
        const __m512i low = iq4_values(_mm512_and_si512(bytes, nibble));
        const __m512i high = iq4_values(_mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble));
        dot[i] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, low, q[2 * h]), high, q[2 * h + 1]);
      }
      sum[pair] = _mm512_mullo_epi32(sum_fours(dot), each[pair]);
    }
    const __m128i offset = _mm_slli_epi32(
        sum_lanes(_mm512_madd_epi16(scale, _mm512_broadcast_i32x4(load_16(a.sum32)))), 7);
    return {_mm_sub_epi32(sum_rows(sum), offset), _mm_setzero_si128(), dword_of_lanes<0>(head)};
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    __m512i head[4];  // d with the high word above it, the low bytes, eight bytes of nibbles
    load_columns(rows, row_bytes, head);
    _mm512_store_ps(strip.d, widen_halves(head[0]));
    const __m512i high = _mm512_srli_epi32(head[0], 16);
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      const __m512i low = _mm512_and_si512(_mm512_srli_epi32(head[1], 4 * j), _mm512_set1_epi32(15));
      const __m512i top = _mm512_and_si512(_mm512_srli_epi32(high, 2 * j), _mm512_set1_epi32(3));
      const __m512i six = _mm512_or_si512(low, _mm512_slli_epi32(top, 4));
      _mm512_store_si512(strip.scale[j], _mm512_sub_epi32(six, _mm512_set1_epi32(32)));
    }
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int j = 0; j < 8; ++j) {
      __m512i v[4];
      load_columns(rows + __builtin_offsetof(Block, low) + 16 * j, row_bytes, v);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        _mm512_store_si512(strip.q[8 * j + s], iq4_values(_mm512_and_si512(v[s], nibble)));
        _mm512_store_si512(strip.q[8 * j + 4 + s],
                           iq4_values(_mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble)));
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
