// Q5_K on AVX-512 VNNI: as Q4_K with a fifth bit. A sum of four products is at most
// 4 * 31 * 127 = 15,748 and fits into int16. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_6bit.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

// 16 added to each byte whose bit in `high` is set.
inline __m512i add_fifth_bit(__m512i q, __m512i high, __m512i bit) {
  return _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(high, bit), q, _mm512_set1_epi8(16));
}

struct Q5K {
  using Block = BlockQ5K;
  static constexpr int kMins = 8;
  static constexpr int kOffset = 0;
  static constexpr int kSubBlockSteps = 8;

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    const FourHeads heads(w, a);
    __m512i q[4];
    load_every_other(a, q);
    const __m128i isum = sum_dots(heads.scale, [&](int row, __m512i dot[4]) {
      const __m512i high = broadcast_32(w[row]->high);
      // The bits of a sub-block and of the one after the next, `left` places up, to place 4.
      const auto with_fifth = [&](__m512i low, int left) {
        const __m512i bit = _mm512_rolv_epi32(
            high, join(_mm256_set1_epi32(left & 31), _mm256_set1_epi32((left - 2) & 31)));
        return _mm512_ternarylogic_epi64(_mm512_and_si512(low, nibble), bit, _mm512_set1_epi8(16),
                                         0xf8);
      };
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m512i low = load_64_once(w[row]->low + 64 * h);
        dot[2 * h] = _mm512_dpbusd_epi32(zero, with_fifth(low, 4 - 4 * h), q[2 * h]);
        dot[2 * h + 1] = _mm512_dpbusd_epi32(zero, with_fifth(_mm512_srli_epi16(low, 4), 3 - 4 * h),
                                             q[2 * h + 1]);
      }
    });
    return {isum, heads.msum, heads.halves};
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    unpack_head(rows, row_bytes, strip);
    const uint8_t* low = rows + __builtin_offsetof(Block, low);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i high[8];
    load_columns(rows + __builtin_offsetof(Block, high), row_bytes, high);
    load_columns(rows + __builtin_offsetof(Block, high) + 16, row_bytes, high + 4);
    for (int g = 0; g < 4; ++g) {
      const __m512i first = _mm512_set1_epi8(static_cast<char>(1 << 2 * g));
      const __m512i second = _mm512_set1_epi8(static_cast<char>(2 << 2 * g));
      __m512i v[8];
      load_columns(low + 32 * g, row_bytes, v);
      load_columns(low + 32 * g + 16, row_bytes, v + 4);
      uint8_t(*q)[64] = strip.q + 16 * g;
#pragma GCC unroll 8
      for (int s = 0; s < 8; ++s) {
        const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble);
        _mm512_store_si512(q[s],
                           add_fifth_bit(_mm512_and_si512(v[s], nibble), high[s], first));
        _mm512_store_si512(q[8 + s], add_fifth_bit(upper, high[s], second));
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
