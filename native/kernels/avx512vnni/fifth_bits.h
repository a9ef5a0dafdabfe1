// The fifth bits of Q5_0 and Q5_1: bit i of a block's 32-bit word belongs to weight i. Internal linkage
// (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

// To the nibbles of eight blocks, in the order of rows_32.h.
template <typename Block>
inline void add_fifth_bits(const Block* w, __m512i v[4]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto bits = [&](int block) {
      return static_cast<uint64_t>(load_u16(w[i / 2 * 4 + block].high + i % 2 * 2));
    };
    const __mmask64 set = bits(0) | bits(2) << 16 | bits(1) << 32 | bits(3) << 48;
    v[i] = _mm512_mask_add_epi8(v[i], set, v[i], _mm512_set1_epi8(16));
  }
}

// To the nibbles of a block of sixteen rows, whose words begin at `high`.
inline void unpack_fifth_bits(const uint8_t* high, uint64_t row_bytes, __m512i v[8]) {
  uint32_t words[16];
  for (int r = 0; r < 16; ++r) words[r] = load_u32(high + r * row_bytes);
  const __m512i all = load_64(words);
#pragma GCC unroll 8
  for (int s = 0; s < 8; ++s) {
    // Byte s / 2 of each word to its four bytes; step s has its lower or upper four bits.
    const int b = s / 2, twice = b | b << 8, four = twice | twice << 16;
    const __m512i byte = _mm512_shuffle_epi8(
        all, _mm512_broadcast_i32x4(
                 _mm_setr_epi32(four, four + 0x04040404, four + 0x08080808, four + 0x0c0c0c0c)));
    const __m512i bit = _mm512_set1_epi32(static_cast<int>(s % 2 == 0 ? 0x08040201u : 0x80402010u));
    v[s] = _mm512_mask_add_epi8(v[s], _mm512_test_epi8_mask(byte, bit), v[s], _mm512_set1_epi8(16));
  }
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
