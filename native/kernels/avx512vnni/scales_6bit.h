// The twelve scale bytes of Q4_K and Q5_K, decoded with masks on words (scalar/scales_6bit.h says
// what they are): of one row in two words, of sixteen rows in the lanes of registers. Internal
// linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Scales {
  uint64_t scale;  // byte j: scale of sub-block j
  uint64_t min;
};

inline Scales unpack_scales(const uint8_t bytes[12]) {
  const uint32_t a = load_u32(bytes), b = load_u32(bytes + 4), c = load_u32(bytes + 8);
  const uint32_t scale_high = (c & 0x0f0f0f0fu) | (a >> 2 & 0x30303030u);
  const uint32_t min_high = (c >> 4 & 0x0f0f0f0fu) | (b >> 2 & 0x30303030u);
  return {(a & 0x3f3f3f3fu) | static_cast<uint64_t>(scale_high) << 32,
          (b & 0x3f3f3f3fu) | static_cast<uint64_t>(min_high) << 32};
}

// Eight bytes as eight int16.
inline __m128i widen_8(uint64_t bytes) {
  return _mm_cvtepu8_epi16(_mm_cvtsi64_si128(static_cast<long long>(bytes)));
}

inline __m128i dot_mins(const uint8_t scales[12], const ActivationA256& a) {
  return _mm_madd_epi16(widen_8(unpack_scales(scales).min), load_16(a.sum32));
}

// Pair j of a block: lanes 0-7 of dot[j] belong to sub-block 2 j, lanes 8-15 to 2 j + 1, and fit
// into int16. Multiplied by their scales; sixteen lanes that sum to isum.
inline __m512i apply_scales(const __m512i dot[4], const uint8_t scales[12]) {
  // Packing puts four sums of pair 0 beside four of pair 1 in each 128-bit lane: scales 0 and 2 in
  // the lower two, 1 and 3 in the upper two.
  const __m512i pick = _mm512_set_epi64(0x0706070607060706, 0x0302030203020302, 0x0706070607060706,
                                        0x0302030203020302, 0x0504050405040504, 0x0100010001000100,
                                        0x0504050405040504, 0x0100010001000100);
  const __m512i scale = _mm512_broadcast_i32x4(widen_8(unpack_scales(scales).scale));
  const __m512i later = _mm512_add_epi8(pick, _mm512_set1_epi8(8));
  const __m512i sum =
      _mm512_dpwssd_epi32(_mm512_setzero_si512(), _mm512_packs_epi32(dot[0], dot[1]),
                          _mm512_shuffle_epi8(scale, pick));
  return _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(dot[2], dot[3]),
                             _mm512_shuffle_epi8(scale, later));
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
