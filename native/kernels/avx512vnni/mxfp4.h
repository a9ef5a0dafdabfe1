// MXFP4 on AVX-512 VNNI. The table's values are 12 larger, 0..24, so that they are unsigned, and
// 12 * (sum of a) is subtracted per block. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/fields_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

inline __m512i values(__m512i nibbles) {
  return _mm512_shuffle_epi8(
      _mm512_broadcast_i32x4(
          _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0)),
      nibbles);
}

// 2^(e - 128): exponent e - 1 from e = 2 on, of which the subnormals of 0 and 1 are the larger; a
// shift by 2 - e of more than 31, or less than 0, leaves nothing.
inline __m512 powers(__m512i e) {
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
  const __m512i subnormal =
      _mm512_srlv_epi32(_mm512_set1_epi32(0x00800000), _mm512_sub_epi32(_mm512_set1_epi32(2), e));
  return _mm512_castsi512_ps(_mm512_max_epi32(normal, subnormal));
}

struct MXFP4 {
  using Block = BlockMXFP4;
  static constexpr int kOffset = 12;
  static constexpr bool kMins = false;

  static void weights(const Block* w, __m512i v[4]) {
    nibbles<sizeof *w>(w->low, v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) v[i] = values(v[i]);
  }

  // Block b begins in word 17 b / 2, at its upper byte if b is odd: in lanes 2 and 3.
  static __m512 scales(const Block* row0, const Block* row1) {
    // The words of blocks 0 and 4, 2 and 6, 1 and 5, 3 and 7 go to the first two dwords of a lane.
    const __m512i first = _mm512_setr_epi32(0, 34, 0, 0, 17, 51, 0, 0, 8, 42, 0, 0, 25, 59, 0, 0);
    const __m512i second = _mm512_shuffle_epi32(first, _MM_PERM_BADC);
    const uint8_t* bytes0 = reinterpret_cast<const uint8_t*>(row0);
    const uint8_t* bytes1 = reinterpret_cast<const uint8_t*>(row1);
    const __m512i words = _mm512_or_si512(
        _mm512_maskz_permutex2var_epi16(0x05050505, load_64(bytes0), first, load_64(bytes0 + 64)),
        _mm512_maskz_permutex2var_epi16(0x50505050, load_64(bytes1), second,
                                        load_64(bytes1 + 64)));
    const __m512i shift = join(_mm256_setzero_si256(), _mm256_set1_epi32(8));
    return powers(_mm512_and_si512(_mm512_srlv_epi32(words, shift), _mm512_set1_epi32(0xff)));
  }

  static __m512 strip_scales(const uint8_t* rows, uint64_t row_bytes) {
    const __m512i e_and_next = _mm512_cvtepu16_epi32(words_of_rows(rows, row_bytes));
    return powers(_mm512_and_si512(e_and_next, _mm512_set1_epi32(0xff)));
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    unpack_nibbles(rows + __builtin_offsetof(Block, low), row_bytes, v);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) v[s] = values(v[s]);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
