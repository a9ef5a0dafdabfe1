// Q6_K on AVX-512 VNNI. Weights stay unsigned, 0..63. In place 32 * sum_j scale_j * sum16_j is
// subtracted once per block; a sum of four products is at most 4 * 63 * 127 = 32,004, which just
// fits into int16. In a strip each sub-block's sum begins at -32 * sum16_j. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

// low | (high & 0x30)
inline __m512i with_high_bits(__m512i low, __m512i high) {
  return _mm512_ternarylogic_epi64(low, high, _mm512_set1_epi8(0x30), 0xf8);
}

struct Q6K {
  using Block = BlockQ6K;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 32;
  static constexpr int kSubBlockSteps = 4;

  static FourBlocks four_blocks(const Block* const w[4], const ActivationA256& a) {
    const __m512i nibble = _mm512_set1_epi8(15), zero = _mm512_setzero_si512();
    // High bits of groups 0 and 1 move up to places 4 and 5, those of 2 and 3 are there or above.
    const __m512i up = join(_mm256_set1_epi16(4), _mm256_set1_epi16(2));
    const __m512i down = join(_mm256_setzero_si256(), _mm256_set1_epi16(2));

    const __m512i bytes = by_lanes<InOrder>(bytes_of_four(w, __builtin_offsetof(Block, scales)));
    const __m512i scale[2] = {_mm512_srai_epi16(_mm512_unpacklo_epi8(bytes, bytes), 8),
                              _mm512_srai_epi16(_mm512_unpackhi_epi8(bytes, bytes), 8)};
    // Half of -32 sum16, which would not fit: at most 16 * 2,032.
    const __m512i start =
        _mm512_mullo_epi16(sums_by_lanes<InOrder>(a), _mm512_set1_epi16(-16));
    __m512i sum[2];
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; ++pair)
      sum[pair] = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(zero, scale[pair], start), scale[pair],
                                      start);
    add_dots(sum, scale, [&](int row, __m512i dot[4]) {  // [2 h + g]: groups 2 g, 2 g + 1 of half h
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m512i low = load_64_once(w[row]->low + 64 * h);
        const __m512i high = broadcast_32(w[row]->high + 32 * h);
        const __m512i first =
            with_high_bits(_mm512_and_si512(low, nibble), _mm512_sllv_epi16(high, up));
        const __m512i second = with_high_bits(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble),
                                              _mm512_srlv_epi16(high, down));
        dot[2 * h] = _mm512_dpbusd_epi32(zero, first, load_64(a.q + 128 * h));
        dot[2 * h + 1] = _mm512_dpbusd_epi32(zero, second, load_64(a.q + 128 * h + 64));
      }
    });
    const auto d = [&](int i) { return static_cast<int>(load_u16(w[i]->d)); };
    return {sum_rows(sum), _mm_setzero_si128(), _mm_setr_epi32(d(0), d(1), d(2), d(3))};
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    __m512i scales[4];
    load_columns(rows + __builtin_offsetof(Block, scales), row_bytes, scales);
    store_scales<4>(scales, strip);
    _mm512_store_ps(strip.d, halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes));
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int part = 0; part < 4; ++part) {  // sixteen of a half's 32 high bytes
      const int h = part / 2, c = part % 2;
      const uint8_t* low = rows + 64 * h + 16 * c;
      __m512i low0[4], low1[4], high[4];
      load_columns(low, row_bytes, low0);
      load_columns(low + 32, row_bytes, low1);
      load_columns(rows + __builtin_offsetof(Block, high) + 32 * h + 16 * c, row_bytes, high);
      uint8_t(*q)[64] = strip.q + 32 * h + 4 * c;  // groups of eight steps
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        _mm512_store_si512(q[s], with_high_bits(_mm512_and_si512(low0[s], nibble),
                                                _mm512_slli_epi16(high[s], 4)));
        _mm512_store_si512(q[8 + s], with_high_bits(_mm512_and_si512(low1[s], nibble),
                                                    _mm512_slli_epi16(high[s], 2)));
        _mm512_store_si512(
            q[16 + s],
            with_high_bits(_mm512_and_si512(_mm512_srli_epi16(low0[s], 4), nibble), high[s]));
        _mm512_store_si512(
            q[24 + s], with_high_bits(_mm512_and_si512(_mm512_srli_epi16(low1[s], 4), nibble),
                                      _mm512_srli_epi16(high[s], 2)));
      }
    }
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
