// Q2_K on AVX-512 VNNI. A sum of four products is at most 4 * 12 * 127 = 6,096 and fits into int16. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q2K {
  using Block = BlockQ2K;
  static constexpr int kMins = 16;
  static constexpr int kOffset = 0;
  static constexpr int kSubBlockSteps = 4;

  // Two bits are multiplied where they lie in a nibble: a sum is worth what it says, or four times that.
  using Order = HalvesAbove<0, 2, 1, 3>;

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    __m512i q[4];  // group g of both halves
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) q[g] = join(load_32(a.q + 32 * g), load_32(a.q + 128 + 32 * g));
    const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    const __m512i both = by_lanes<Order>(bytes_of_four(w, __builtin_offsetof(Block, scales)));

    // Four times the scales of groups 0 and 2, so that all products are four times too large.
    const __m512i scales =
        _mm512_mullo_epi16(_mm512_and_si512(both, nibble), _mm512_set1_epi32(0x00010004));
    const __m512i scale[2] = {_mm512_unpacklo_epi8(scales, zero),
                              _mm512_unpackhi_epi8(scales, zero)};
    __m512i sum[2] = {zero, zero};
    add_dots(sum, scale, [&](int row, __m512i dot[4]) {
      const __m512i low = load_64_once(w[row]->low), high = _mm512_srli_epi16(low, 4);
      const __m512i first = _mm512_set1_epi8(3), second = _mm512_set1_epi8(12);
      dot[0] = _mm512_dpbusd_epi32(zero, _mm512_and_si512(low, first), q[0]);
      dot[1] = _mm512_dpbusd_epi32(zero, _mm512_and_si512(high, first), q[2]);
      dot[2] = _mm512_dpbusd_epi32(zero, _mm512_and_si512(low, second), q[1]);
      dot[3] = _mm512_dpbusd_epi32(zero, _mm512_and_si512(high, second), q[3]);
    });

    const __m512i mins = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    const __m512i sums = sums_by_lanes<Order>(a);
    const __m512i msum[2] = {_mm512_madd_epi16(_mm512_unpacklo_epi8(mins, zero), sums),
                             _mm512_madd_epi16(_mm512_unpackhi_epi8(mins, zero), sums)};
    const auto halves = [&](int i) { return static_cast<int>(load_u32(w[i]->d)); };
    return {_mm_srai_epi32(sum_rows(sum), 2), sum_rows(msum),
            _mm_setr_epi32(halves(0), halves(1), halves(2), halves(3))};
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    const __m512i nibble = _mm512_set1_epi8(15), two = _mm512_set1_epi8(3);
    __m512i both[4], scales[4], mins[4];
    load_columns(rows + __builtin_offsetof(Block, scales), row_bytes, both);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      scales[i] = _mm512_and_si512(both[i], nibble);
      mins[i] = _mm512_and_si512(_mm512_srli_epi16(both[i], 4), nibble);
    }
    store_scales<4>(scales, strip);
    store_mins<4>(mins, strip);
    _mm512_store_ps(strip.d, halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes));
    _mm512_store_ps(strip.dmin, halves_of_rows(rows + __builtin_offsetof(Block, dmin), row_bytes));
    for (int part = 0; part < 4; ++part) {  // sixteen bytes of a half's 32
      const int h = part / 2, c = part % 2;
      __m512i low[4];
      load_columns(rows + __builtin_offsetof(Block, low) + 32 * h + 16 * c, row_bytes, low);
      uint8_t(*q)[64] = strip.q + 32 * h + 4 * c;  // groups of eight steps
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s)
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g)
          _mm512_store_si512(q[8 * g + s],
                             _mm512_and_si512(_mm512_srli_epi16(low[s], 2 * g), two));
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
