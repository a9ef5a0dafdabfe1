// Q4_K on AVX-512 VNNI. A sum of four products is at most 4 * 15 * 127 = 7,620 and fits into int16. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_6bit.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q4K {
  using Block = BlockQ4K;
  static constexpr int kMins = 8;
  static constexpr int kOffset = 0;
  static constexpr int kSubBlockSteps = 8;

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    const FourHeads heads(w, a);
    __m512i q[4];
    load_every_other(a, q);
    const __m128i isum = sum_dots(heads.scale, [&](int row, __m512i dot[4]) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m512i low = load_64_once(w[row]->low + 64 * h);
        dot[2 * h] = _mm512_dpbusd_epi32(zero, _mm512_and_si512(low, nibble), q[2 * h]);
        dot[2 * h + 1] = _mm512_dpbusd_epi32(
            zero, _mm512_and_si512(_mm512_srli_epi16(low, 4), nibble), q[2 * h + 1]);
      }
    });
    return {isum, heads.msum, heads.halves};
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    unpack_head(rows, row_bytes, strip);
    const uint8_t* low = rows + __builtin_offsetof(Block, low);
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int c = 0; c < 8; ++c) {
      __m512i v[4];
      load_columns(low + 16 * c, row_bytes, v);
      // Chunks 2 g and 2 g + 1 hold sub-blocks 2 g and 2 g + 1, eight steps each.
      uint8_t(*q)[64] = strip.q + 16 * (c / 2) + 4 * (c % 2);
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        _mm512_store_si512(q[s], _mm512_and_si512(v[s], nibble));
        _mm512_store_si512(q[8 + s], _mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble));
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
