// The twelve scale bytes of Q4_K and Q5_K, decoded with masks on words (scalar/scales_6bit.h says
// what they are). Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/activations.h"
#include "native/kernels/avx2/k_rows.h"
#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
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

inline __m128i dot_mins(uint64_t mins, const ActivationA256& a) {
  return _mm_madd_epi16(widen_8(mins), load_16(a.sum32));
}

// Row r's share of a strip's scale and min tables.
inline void store_scales(Scales s, int r, Strip& strip) {
  for (int j = 0; j < 8; ++j) {
    const uint32_t scale = s.scale >> 8 * j & 63, pair = scale | scale << 16;
    __builtin_memcpy(&strip.scale[j][2 * r], &pair, sizeof pair);
  }
  for (int i = 0; i < 4; ++i) {
    const uint32_t pair = (s.min >> 16 * i & 63) | (s.min >> (16 * i + 8) & 63) << 16;
    __builtin_memcpy(&strip.pairs[i][2 * r], &pair, sizeof pair);
  }
}

}  // namespace
}  // namespace hypura::kernels::avx2
