// Q8_0 on AVX-512 VNNI. dpbusd wants one unsigned operand: with its top bit flipped a weight is
// w + 128, 0..255, and 128 * (sum of a) is subtracted. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/fields_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

inline __m512i plus_128(__m512i w) {
  return _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
}

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kOffset = 128;
  static constexpr bool kMins = false;

  static void weights(const Block* w, __m512i v[4]) {
    const uint8_t* q = reinterpret_cast<const uint8_t*>(w) + __builtin_offsetof(Block, q);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      v[i] = plus_128(quarters<sizeof *w>(q + i / 2 * 4 * sizeof *w + i % 2 * 16));
  }

  static __m512 scales(const Block* row0, const Block* row1) {
    return half_fields<__builtin_offsetof(Block, d)>(row0, row1);
  }

  static __m512 strip_scales(const uint8_t* rows, uint64_t row_bytes) {
    return halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes);
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    load_columns(rows + __builtin_offsetof(Block, q), row_bytes, v);
    load_columns(rows + __builtin_offsetof(Block, q) + 16, row_bytes, v + 4);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) v[s] = plus_128(v[s]);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
