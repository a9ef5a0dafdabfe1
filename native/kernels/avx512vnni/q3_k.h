// Q3_K on AVX-512 VNNI. Weights stay unsigned, 0..7: in place 4 * sum_j scale_j * sum16_j is
// subtracted once per block, in a strip each sub-block's sum begins at -4 * sum16_j. A sum of four
// products is at most 4 * 7 * 127 = 3,556 and fits into int16. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

// (low & 3) | (high & 4)
inline __m512i with_third_bit(__m512i low, __m512i high) {
  const __m512i two = _mm512_and_si512(low, _mm512_set1_epi8(3));
  return _mm512_ternarylogic_epi64(two, high, _mm512_set1_epi8(4), 0xf8);
}

// Bit kBit of each byte to bit 2; the others are somewhere else.
template <int kBit>
inline __m512i to_bit_2(__m512i high) {
  return kBit < 2 ? _mm512_slli_epi16(high, 2 - kBit) : _mm512_srli_epi16(high, kBit - 2);
}

struct Q3K {
  using Block = BlockQ3K;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 4;
  static constexpr int kSubBlockSteps = 4;
  // Sixteen bytes that end with the block: two of `low`, the scales, d.
  static constexpr uint64_t kTail = sizeof(Block) - 16;

  // The bits of groups 2 and 3 are multiplied where they lie in a nibble: their sums are four times too large.
  using Order = HalvesAbove<0, 1, 2, 3>;

  // Of four rows whose tails are given, by lanes, 0..63.
  static __m512i scales(__m512i tail) {
    const __m512i words = _mm512_shuffle_epi8(
        tail, _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9)));
    const __m512i low =
        _mm512_and_si512(_mm512_srlv_epi32(words, _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 4))),
                         _mm512_set1_epi8(15));
    const __m512i tops = _mm512_shuffle_epi8(
        tail, _mm512_broadcast_i32x4(
                  _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13)));
    const __m512i high =
        _mm512_rolv_epi32(tops, _mm512_broadcast_i32x4(_mm_setr_epi32(4, 2, 0, 30)));
    return by_lanes<Order>(_mm512_ternarylogic_epi64(low, high, _mm512_set1_epi8(0x30), 0xf8));
  }

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    __m512i q[4];  // group g of both halves
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) q[g] = join(load_32(a.q + 32 * g), load_32(a.q + 128 + 32 * g));
    const __m512i zero = _mm512_setzero_si512();
    const __m512i tail = bytes_of_four(w, kTail);

    // Four times the scales of groups 0 and 1, so that all products are four times too large.
    const __m512i four = _mm512_mullo_epi16(scales(tail), _mm512_set1_epi32(0x00010004));
    const __m512i offset = _mm512_set1_epi64(0x0020002000800080);
    const __m512i scale[2] = {_mm512_sub_epi16(_mm512_unpacklo_epi8(four, zero), offset),
                              _mm512_sub_epi16(_mm512_unpackhi_epi8(four, zero), offset)};
    // -4 sum16, four times of that where the scales are not: at most 16 * 2,032.
    const __m512i start = _mm512_mullo_epi16(
        sums_by_lanes<Order>(a), _mm512_set1_epi64(static_cast<long long>(0xfff0fff0fffcfffc)));
    __m512i sum[2] = {_mm512_dpwssd_epi32(zero, scale[0], start),
                      _mm512_dpwssd_epi32(zero, scale[1], start)};
    add_dots(sum, scale, [&](int row, __m512i dot[4]) {
      const __m512i low0 = load_64_once(w[row]->low), high = broadcast_32(w[row]->high);
      const __m512i low2 = _mm512_srli_epi16(low0, 2), low4 = _mm512_srli_epi16(low0, 4);
      // Bit g of a byte belongs to group g of half 0, bit 4 + g to half 1: to bits 2 and 4 of each.
      const auto turn = [&](int lower, int upper) {
        return _mm512_rolv_epi32(high, join(_mm256_set1_epi32(lower), _mm256_set1_epi32(upper)));
      };
      const __m512i high02 = turn(2, 30), high13 = turn(1, 29);
      const auto upper = [](__m512i low, __m512i third) {
        return _mm512_ternarylogic_epi64(_mm512_and_si512(low, _mm512_set1_epi8(12)), third,
                                         _mm512_set1_epi8(16), 0xf8);
      };
      dot[0] = _mm512_dpbusd_epi32(zero, with_third_bit(low0, high02), q[0]);
      dot[1] = _mm512_dpbusd_epi32(zero, with_third_bit(low2, high13), q[1]);
      dot[2] = _mm512_dpbusd_epi32(zero, upper(low2, high02), q[2]);
      dot[3] = _mm512_dpbusd_epi32(zero, upper(low4, high13), q[3]);
    });
    return {_mm_srai_epi32(sum_rows(sum), 2), _mm_setzero_si128(),
            _mm_srli_epi32(dword_of_lanes<3>(tail), 16)};
  }

  static void unpack_tail(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    __m512i tail[4];
    load_columns(rows + kTail, row_bytes, tail);
    _mm512_store_ps(strip.d, widen_halves(_mm512_srli_epi32(tail[3], 16)));
    __m512i words[3];  // the twelve bytes
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i)
      words[i] = _mm512_or_si512(_mm512_srli_epi32(tail[i], 16), _mm512_slli_epi32(tail[i + 1], 16));
    const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    const __m512i high[4] = {_mm512_slli_epi32(words[2], 4), _mm512_slli_epi32(words[2], 2),
                             words[2], _mm512_srli_epi32(words[2], 2)};
    __m512i scale[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i low = i < 2 ? words[i] : _mm512_srli_epi32(words[i - 2], 4);
      const __m512i six =
          _mm512_ternarylogic_epi64(_mm512_and_si512(low, nibble), high[i], top, 0xf8);
      scale[i] = _mm512_sub_epi8(six, _mm512_set1_epi8(32));
    }
    store_scales<4>(scale, strip);
  }

  template <int kHalf>
  static void unpack_half(const uint8_t* rows, uint64_t row_bytes, const __m512i* high,
                          Strip& strip) {
    for (int c = 0; c < 2; ++c) {  // sixteen of the half's 32 bytes
      __m512i low[4];
      load_columns(rows + __builtin_offsetof(Block, low) + 32 * kHalf + 16 * c, row_bytes, low);
      uint8_t(*q)[64] = strip.q + 32 * kHalf + 4 * c;  // groups of eight steps
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const __m512i third = high[4 * c + s];
        _mm512_store_si512(q[s], with_third_bit(low[s], to_bit_2<4 * kHalf>(third)));
        _mm512_store_si512(q[8 + s], with_third_bit(_mm512_srli_epi16(low[s], 2),
                                                    to_bit_2<4 * kHalf + 1>(third)));
        _mm512_store_si512(q[16 + s], with_third_bit(_mm512_srli_epi16(low[s], 4),
                                                     to_bit_2<4 * kHalf + 2>(third)));
        _mm512_store_si512(q[24 + s], with_third_bit(_mm512_srli_epi16(low[s], 6),
                                                     to_bit_2<4 * kHalf + 3>(third)));
      }
    }
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    unpack_tail(rows, row_bytes, strip);
    __m512i high[8];
    load_columns(rows + __builtin_offsetof(Block, high), row_bytes, high);
    load_columns(rows + __builtin_offsetof(Block, high) + 16, row_bytes, high + 4);
    unpack_half<0>(rows, row_bytes, high, strip);
    unpack_half<1>(rows, row_bytes, high, strip);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
