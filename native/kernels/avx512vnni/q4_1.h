// Q4_1 on AVX-512 VNNI: nibbles with a minimum. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include "native/kernels/avx512vnni/fields_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q4_1 {
  using Block = BlockQ4_1;
  static constexpr int kOffset = 0;
  static constexpr bool kMins = true;

  static void weights(const Block* w, __m512i v[4]) { nibbles<sizeof *w>(w->low, v); }

  static __m512 scales(const Block* row0, const Block* row1) {
    return half_fields<__builtin_offsetof(Block, d)>(row0, row1);
  }

  static __m512 strip_scales(const uint8_t* rows, uint64_t row_bytes) {
    return halves_of_rows(rows + __builtin_offsetof(Block, d), row_bytes);
  }

  static __m512 mins(const Block* row0, const Block* row1) {
    return half_fields<__builtin_offsetof(Block, m)>(row0, row1);
  }

  static __m512 strip_mins(const uint8_t* rows, uint64_t row_bytes) {
    return halves_of_rows(rows + __builtin_offsetof(Block, m), row_bytes);
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    unpack_nibbles(rows + __builtin_offsetof(Block, low), row_bytes, v);
  }
};

}  // namespace
}  // namespace hypura::kernels::avx512vnni
