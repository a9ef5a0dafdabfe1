// Sixteen float lanes in two registers (rule E4), masked tails, and small loads. Internal linkage
// throughout (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace hypura::kernels::avx2 {
namespace {

struct Lanes {
  __m256 low;   // lanes 0-7
  __m256 high;  // lanes 8-15
};

[[maybe_unused]] inline Lanes zero_lanes() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

// Adds the upper half to the lower, 16 to 8, 4, 2, 1.
[[maybe_unused]] inline float fold(Lanes lanes) {
  const __m256 eight = _mm256_add_ps(lanes.low, lanes.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// All ones in the first n of eight lanes; n is clamped to 0..8.
[[maybe_unused]] inline __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// fma in the lanes of the mask; the others are left alone.
[[maybe_unused]] inline __m256 masked_fma(__m256 a, __m256 b, __m256 lanes, __m256i mask) {
  return _mm256_blendv_ps(lanes, _mm256_fmadd_ps(a, b, lanes), _mm256_castsi256_ps(mask));
}

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

[[maybe_unused]] inline __m256i load_32(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

[[maybe_unused]] inline __m128i load_16(const void* bytes) {
  return _mm_loadu_si128(static_cast<const __m128i*>(bytes));
}

// Four bytes to all eight lanes.
[[maybe_unused]] inline __m256i broadcast_4(const void* bytes) {
  return _mm256_set1_epi32(static_cast<int>(load_u32(bytes)));
}

// Sums of two products of weights and activations as int16. maddubs wants one unsigned operand: of
// signed weights |w| takes that place and the sign of w moves to the activation, which is never -128.
template <bool kSigned>
inline __m256i products(__m256i w, __m256i x) {
  if constexpr (kSigned) return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_maddubs_epi16(w, x);
}

// Lane j of eight int16 (the same eight in both halves) to all lanes.
template <int kLane>
inline __m256i broadcast_lane(__m256i eight) {
  return _mm256_shuffle_epi8(eight, _mm256_set1_epi16((2 * kLane + 1) << 8 | 2 * kLane));
}

// The nibbles of sixteen bytes: low ones are weights 0-15, high ones 16-31.
[[maybe_unused]] inline __m256i nibbles(const uint8_t low[16]) {
  const __m128i bytes = load_16(low);
  return _mm256_and_si256(_mm256_setr_m128i(bytes, _mm_srli_epi16(bytes, 4)), _mm256_set1_epi8(15));
}

// Row r of eight holds the dwords r0 .. r7; afterwards column c holds c of every row.
[[maybe_unused]] inline void transpose_8x8(__m256i v[8]) {
  __m256i pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      quads[i + 2 * j] = _mm256_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
      quads[i + 2 * j + 1] = _mm256_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
    }
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x20);
    v[i + 4] = _mm256_permute2x128_si256(quads[i], quads[i + 4], 0x31);
  }
}

}  // namespace
}  // namespace hypura::kernels::avx2
