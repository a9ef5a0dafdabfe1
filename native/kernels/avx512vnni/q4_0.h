// Q4_0 on AVX-512 VNNI. Nibbles stay unsigned and 8 * (sum of a) is subtracted per block. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/fields_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kOffset = 8;
  static constexpr bool kMins = false;

  static void weights(const Block* w, __m512i v[4]) { nibbles<sizeof *w>(w->low, v); }

  static __m512 scales(const Block* row0, const Block* row1) {
    return half_fields<__builtin_offsetof(Block, d)>(row0, row1);
  }

  static __m512 strip_scales(const uint8_t* rows, uint64_t row_bytes) {
    return halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes);
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    unpack_nibbles(rows + __builtin_offsetof(Block, low), row_bytes, v);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
