// A strip of 256 weights whose integer scales are multiplied in: a tile product then runs over a whole block, and one number per
// row and position is left instead of one per sub-block.
//
// scale * q needs up to 14 bits, a tile takes bytes. It is written as low + 2^kShift * high, two *planes* of bytes; the
// sums over each are exact (rule E1), and so is low + 2^kShift * high of the sums. Where eight bits suffice there is one plane.
// Internal linkage (amx_int8.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx512vnni/k_rows.h"

namespace hypura::kernels::amx_int8 {
namespace {

using avx512vnni::load_64;

// The scale of each of sixteen rows as both words of its lane.
inline __m512i scale_words(const int32_t scale[16]) {
  const __m512i v = _mm512_load_si512(scale);
  return _mm512_or_si512(_mm512_slli_epi32(v, 16), _mm512_and_si512(v, _mm512_set1_epi32(0xffff)));
}

// q * scale below 256, both unsigned: no product of bytes carries into the next.
struct OnePlane {
  static constexpr int kPlanes = 1;
  static constexpr int kShift = 0;
  static constexpr bool kSigned = false, kNegated = false;

  struct Scale {
    __m512i words;
    explicit Scale(const int32_t scale[16]) : words(scale_words(scale)) {}
  };
  static void make(__m512i q, const Scale& scale, __m512i plane[1]) {
    plane[0] = _mm512_mullo_epi16(q, scale.words);
  }
};

// Scales of six bits, q below 32: scale = 8 high + low, so that either product is at most 31 * 7 = 217.
struct TwoPlanesOfScale {
  static constexpr int kPlanes = 2;
  static constexpr int kShift = 3;
  static constexpr bool kSigned = false, kNegated = false;

  struct Scale {
    __m512i low, high;
    explicit Scale(const int32_t scale[16]) {
      const __m512i words = scale_words(scale);
      low = _mm512_and_si512(words, _mm512_set1_epi16(7));
      high = _mm512_srli_epi16(words, 3);
    }
  };
  static void make(__m512i q, const Scale& scale, __m512i plane[2]) {
    plane[0] = _mm512_mullo_epi16(q, scale.low);
    plane[1] = _mm512_mullo_epi16(q, scale.high);
  }
};

// (q - kOffset) * scale in -127..128, as the opposite, which is a signed byte.
template <int kOffset>
struct OneNegatedPlane {
  static constexpr int kPlanes = 1;
  static constexpr int kShift = 0;
  static constexpr bool kSigned = true, kNegated = true;

  using Scale = OnePlane::Scale;
  static void make(__m512i q, const Scale& scale, __m512i plane[1]) {
    const __m512i w = _mm512_sub_epi8(_mm512_set1_epi8(kOffset), q);
    const __m512i upper = _mm512_set1_epi16(static_cast<short>(0xff00));
    // Of each word's product only the lower byte of the lower and the upper of the upper one count.
    const __m512i even = _mm512_mullo_epi16(w, scale.words);
    const __m512i odd = _mm512_mullo_epi16(_mm512_and_si512(w, upper), scale.words);
    plane[0] = _mm512_ternarylogic_epi64(upper, odd, even, 0xca);  // upper ? odd : even
  }
};

// (q - kOffset) * scale in -2^13 .. 2^13 - 1 or a little more, so that both seven low bits and the rest are signed bytes.
template <int kOffset>
struct TwoPlanesOfProduct {
  static constexpr int kPlanes = 2;
  static constexpr int kShift = 7;
  static constexpr bool kSigned = true, kNegated = false;

  struct Scale {
    __m512i once, twice;
    explicit Scale(const int32_t scale[16])
        : once(scale_words(scale)), twice(_mm512_add_epi16(once, once)) {}
  };
  static void make(__m512i q, const Scale& scale, __m512i plane[2]) {
    const __m512i upper = _mm512_set1_epi16(static_cast<short>(0xff00));
    const __m512i w = _mm512_sub_epi8(q, _mm512_set1_epi8(static_cast<char>(kOffset)));
    // Either byte as the upper one of a word, 256 times its worth: times twice the scale, the upper half of the 32-bit
    // product is w * scale / 128 rounded down.
    const __m512i even = _mm512_slli_epi16(w, 8), odd = _mm512_and_si512(w, upper);
    const __m512i low_even = _mm512_srli_epi16(_mm512_mullo_epi16(even, scale.once), 8);
    const __m512i low_odd = _mm512_mullo_epi16(odd, scale.once);
    const __m512i high_even = _mm512_mulhi_epi16(even, scale.twice);
    const __m512i high_odd = _mm512_slli_epi16(_mm512_mulhi_epi16(odd, scale.twice), 8);
    plane[0] = _mm512_ternarylogic_epi64(low_even, low_odd, _mm512_set1_epi8(127), 0xa8);  // (even | odd) & 127
    plane[1] = _mm512_ternarylogic_epi64(upper, high_odd, high_even, 0xca);
  }
};

template <typename Planes>
struct alignas(64) PlaneStrip {
  uint8_t plane[Planes::kPlanes][64][64];  // [plane][step]: as avx512vnni::Strip::q
  int16_t mins[8][32];
  float d[16];
  float dmin[16];

  // steps: steps of four weights per scale; n_min_pairs: pairs of minima, 0 in types without
  void take(const avx512vnni::Strip& strip, int steps, int n_min_pairs) {
    for (int j = 0; j < 64 / steps; ++j) {
      const typename Planes::Scale scale(strip.scale[j]);
      for (int s = j * steps; s < (j + 1) * steps; ++s) {
        __m512i bytes[Planes::kPlanes];
        Planes::make(_mm512_load_si512(strip.q[s]), scale, bytes);
#pragma GCC unroll 2
        for (int p = 0; p < Planes::kPlanes; ++p) _mm512_store_si512(plane[p][s], bytes[p]);
      }
    }
    for (int i = 0; i < n_min_pairs; ++i) _mm512_store_si512(mins[i], load_64(strip.mins[i]));
    _mm512_store_ps(d, _mm512_load_ps(strip.d));
    _mm512_store_ps(dmin, _mm512_load_ps(strip.dmin));
  }
};

}  // namespace
}  // namespace hypura::kernels::amx_int8
