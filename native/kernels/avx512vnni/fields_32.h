// Fields of 32-weight blocks, of several blocks at once, in the orders that rows_32.h wants. Internal
// linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

// Sixteen bytes at `first` and kSize, 2 kSize, 3 kSize bytes after it, in the order 0, 2, 1, 3.
template <int kSize>
inline __m512i quarters(const uint8_t* first) {
  const auto two = [&](int a, int b) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(first + a * kSize)),
                                   load_16(first + b * kSize), 1);
  };
  return join(two(0, 2), two(1, 3));
}

// Nibbles of eight blocks as weights(): byte i of a block's sixteen holds weights i and i + 16.
template <int kSize>
inline void nibbles(const uint8_t* low, __m512i v[4]) {
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const __m512i bytes = quarters<kSize>(low + 4 * h * kSize);
    v[2 * h] = _mm512_and_si512(bytes, nibble);
    v[2 * h + 1] = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble);
  }
}

// The same of a block of sixteen rows, as unpack().
inline void unpack_nibbles(const uint8_t* low, uint64_t row_bytes, __m512i v[8]) {
  const __m512i nibble = _mm512_set1_epi8(15);
  load_columns(low, row_bytes, v);
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
    v[4 + s] = _mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble);
    v[s] = _mm512_and_si512(v[s], nibble);
  }
}

// Where 16-bit words kAt bytes into each of eight blocks of kSize bytes are, among the 64 words of
// two loads of 64 bytes: blocks of `half` 0 are 0-3, of 1 are 4-7. No load reaches past the eight.
template <int kSize, int kAt>
struct WordPlaces {
  // Whether all eight are within two loads.
  static constexpr bool kTwoLoads = 3 * kSize + kAt + 2 <= 64;

  static constexpr int least(int a, int b) { return a < b ? a : b; }
  static constexpr int load_at(int half, int which) {
    if (kTwoLoads) return which == 0 ? 0 : least(4 * kSize, 8 * kSize - 64);
    return which == 0 ? 4 * half * kSize : least((4 * half + 2) * kSize, 8 * kSize - 64);
  }

  // index[row]: places of the words of that row among sixteen in lane order.
  struct Index {
    alignas(64) uint16_t index[2][32];
  };
  static constexpr Index of_half(int half) {
    Index result = {};
    constexpr int kOrder[4] = {0, 2, 1, 3};
    for (int row = 0; row < 2; ++row)
      for (int lane = 0; lane < 4; ++lane)
        for (int h = 0; h < 2; ++h) {
          if (!kTwoLoads && h != half) continue;
          const int block = kOrder[lane] + 4 * h;
          const int which = kTwoLoads ? h : (block - 4 * half) / 2;
          const int word = (block * kSize + kAt - load_at(half, which)) / 2;
          result.index[row][4 * lane + 2 * row + h] = static_cast<uint16_t>(32 * which + word);
        }
    return result;
  }
};

// Binary16 numbers kAt bytes into each of eight blocks of two rows, in lane order.
template <int kAt, typename Block>
inline __m512 half_fields(const Block* row0, const Block* row1) {
  using Places = WordPlaces<sizeof(Block), kAt>;
  const Block* const rows[2] = {row0, row1};
  __m512i words = _mm512_setzero_si512();
#pragma GCC unroll 2
  for (int half = 0; half < (Places::kTwoLoads ? 1 : 2); ++half) {
    static constexpr typename Places::Index kIndex[2] = {Places::of_half(0), Places::of_half(1)};
#pragma GCC unroll 2
    for (int r = 0; r < 2; ++r) {
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(rows[r]);
      // Words 0 and 1 of each four are the first row's; half 0 has the first of the two.
      const __mmask32 mask = (Places::kTwoLoads ? 0x3333u : half == 0 ? 0x1111u : 0x2222u) << 2 * r;
      words = _mm512_or_si512(
          words, _mm512_maskz_permutex2var_epi16(mask, load_64(bytes + Places::load_at(half, 0)),
                                                 load_64(kIndex[half].index[r]),
                                                 load_64(bytes + Places::load_at(half, 1))));
    }
  }
  return _mm512_cvtph_ps(_mm512_castsi512_si256(words));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
