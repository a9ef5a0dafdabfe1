// What blocks of four rows, in place, have in common (k_rows.h): the scales of four rows are decoded in one register, the
// sums of two rows meet in another. Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/lanes.h"

namespace hypura::kernels::avx512vnni {
namespace {

// What a block of each of four rows gives; lane i belongs to row i.
struct FourBlocks {
  __m128i isum;
  __m128i msum;    // in types with minima
  __m128i halves;  // d, with dmin above it
};

// Sixteen bytes of four blocks, `at` bytes into them: those of row r in 128-bit lane r.
template <typename Block>
inline __m512i bytes_of_four(const Block* const w[4], uint64_t at) {
  const auto of_row = [&](int r) { return load_16(reinterpret_cast<const uint8_t*>(w[r]) + at); };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(of_row(0)), of_row(1), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(of_row(2)), of_row(3), 1);
  return join(low, high);
}

// Dword kDword of each 128-bit lane.
template <int kDword>
inline __m128i dword_of_lanes(__m512i v) {
  const __m512i pick = _mm512_add_epi32(
      _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12)), _mm512_set1_epi32(kDword));
  return _mm512_castsi512_si128(_mm512_permutexvar_epi32(pick, v));
}

// Dword l of 128-bit lane r to dword r of lane l.
inline __m512i transpose_dwords(__m512i v) {
  return _mm512_permutexvar_epi32(
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
}

// The sums of the four dwords of each 128-bit lane.
inline __m128i sum_lanes(__m512i v) {
  const __m512i two = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
  return dword_of_lanes<0>(_mm512_add_epi32(two, _mm512_shuffle_epi32(two, _MM_PERM_CDAB)));
}

// Every 128-bit lane of pair[i] has two dwords of row 2 i, then two of row 2 i + 1: their sums.
inline __m128i sum_rows(const __m512i pair[2]) {
  const __m512 first = _mm512_castsi512_ps(pair[0]), second = _mm512_castsi512_ps(pair[1]);
  const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0x88));
  const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0xdd));
  const __m512i all = _mm512_add_epi32(even, odd);
  const __m256i half =
      _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
