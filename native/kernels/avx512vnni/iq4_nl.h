// IQ4_NL on AVX-512 VNNI. The table's values are 128 larger, 1..241, so that they are unsigned, and
// 128 * (sum of a) is subtracted per block. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/fields_32.h"
#include "native/kernels/avx512vnni/iq4_values.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct IQ4NL {
  using Block = BlockIQ4NL;
  static constexpr int kOffset = kIq4Offset;
  static constexpr bool kMins = false;

  static void weights(const Block* w, __m512i v[4]) {
    nibbles<sizeof *w>(w->low, v);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) v[i] = iq4_values(v[i]);
  }

  static __m512 scales(const Block* row0, const Block* row1) {
    return half_fields<__builtin_offsetof(Block, d)>(row0, row1);
  }

  static __m512 strip_scales(const uint8_t* rows, uint64_t row_bytes) {
    return halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes);
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    unpack_nibbles(rows + __builtin_offsetof(Block, low), row_bytes, v);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) v[s] = iq4_values(v[s]);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
