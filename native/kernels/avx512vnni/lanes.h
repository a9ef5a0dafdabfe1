// Small loads, sums of lanes and the transposition that a strip begins with. Internal linkage
// throughout (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace hypura::kernels::avx512vnni {
namespace {

[[maybe_unused]] inline uint16_t load_u16(const void* bytes) {
  uint16_t value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

[[maybe_unused]] inline uint32_t load_u32(const void* bytes) {
  uint32_t value;
  __builtin_memcpy(&value, bytes, sizeof value);
  return value;
}

[[maybe_unused]] inline __m128i load_16(const void* bytes) {
  return _mm_loadu_si128(static_cast<const __m128i*>(bytes));
}

[[maybe_unused]] inline __m256i load_32(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

[[maybe_unused]] inline __m512i load_64(const void* bytes) { return _mm512_loadu_si512(bytes); }

// The same, for bytes that several instructions use: each of them would read memory itself, and most
// reads of 64 bytes of a row cross a cache line.
[[maybe_unused]] inline __m512i load_64_once(const void* bytes) {
  __m512i loaded = load_64(bytes);
  __asm__("" : "+v"(loaded));
  return loaded;
}

// Four bytes to all sixteen lanes.
[[maybe_unused]] inline __m512i broadcast_4(const void* bytes) {
  return _mm512_set1_epi32(static_cast<int>(load_u32(bytes)));
}

// 32 bytes to both halves.
[[maybe_unused]] inline __m512i broadcast_32(const void* bytes) {
  return _mm512_broadcast_i64x4(load_32(bytes));
}

// `low` in the lower half, `high` in the upper.
[[maybe_unused]] inline __m512i join(__m256i low, __m256i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// In each 128-bit lane, lane i: the sum of that lane's four elements of v[i].
[[maybe_unused]] inline __m512i sum_fours(const __m512i v[4]) {
  const __m512i first =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i second =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(first, second),
                          _mm512_unpackhi_epi64(first, second));
}

// Lane i: the sum of the sixteen lanes of v[i].
[[maybe_unused]] inline __m128i sum_each(const __m512i v[4]) {
  const __m512i fours = sum_fours(v);
  const __m256i eight =
      _mm256_add_epi32(_mm512_castsi512_si256(fours), _mm512_extracti64x4_epi64(fours, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
}

// Sixteen bytes of each of sixteen rows, row_bytes apart: afterwards lane r of v[i] holds dword i of
// row r.
[[maybe_unused]] inline void load_columns(const uint8_t* rows, uint64_t row_bytes, __m512i v[4]) {
  __m512i row[4];  // row[i]: rows i, 4 + i, 8 + i, 12 + i
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const uint8_t* at = rows + i * row_bytes;
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(at)),
                                                load_16(at + 4 * row_bytes), 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(at + 8 * row_bytes)),
                                                 load_16(at + 12 * row_bytes), 1);
    row[i] = join(low, high);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(row[0], row[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(row[0], row[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(row[2], row[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(row[2], row[3]);
  v[0] = _mm512_unpacklo_epi64(low01, low23);
  v[1] = _mm512_unpackhi_epi64(low01, low23);
  v[2] = _mm512_unpacklo_epi64(high01, high23);
  v[3] = _mm512_unpackhi_epi64(high01, high23);
}

// 16-bit words of sixteen rows, row_bytes apart. Put together in general registers: words stored one by one and loaded together
// would have to wait until every store before them is in the cache.
[[maybe_unused]] inline __m256i words_of_rows(const uint8_t* first, uint64_t row_bytes) {
  uint64_t four[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const uint8_t* at = first + 4 * i * row_bytes;
    four[i] = load_u16(at) | uint64_t{load_u16(at + row_bytes)} << 16 | uint64_t{load_u16(at + 2 * row_bytes)} << 32 |
              uint64_t{load_u16(at + 3 * row_bytes)} << 48;
  }
  return _mm256_set_epi64x(static_cast<long long>(four[3]), static_cast<long long>(four[2]), static_cast<long long>(four[1]),
                           static_cast<long long>(four[0]));
}

// The binary16 of sixteen rows.
[[maybe_unused]] inline __m512 halves_of_rows(const uint8_t* first, uint64_t row_bytes) {
  return _mm512_cvtph_ps(words_of_rows(first, row_bytes));
}

// The binary16 in the lower half of each lane.
[[maybe_unused]] inline __m512 widen_halves(__m512i lanes) {
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(lanes));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
