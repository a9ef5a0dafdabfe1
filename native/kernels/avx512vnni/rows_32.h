// The frame of the 32-weight types on AVX-512 VNNI, in groups of eight blocks (rule E3): rows in
// place for few positions, strips of sixteen rows for many. Same bits (E11).
//
// In place: two blocks fill a register and four registers a group; a tree of sums leaves the eight
// exact integers in one. A short last group is copied into eight zeroed blocks: their terms are +0,
// as the rule says.
// Strip: as in k_rows.h; sixteen rows are the lanes and the eight terms of a group are added in the
// same tree. Weights are unsigned in both, kOffset too large: a block's sum begins at -kOffset * sum.
//
// A type gives (all static):
//   Block; kOffset
//   pair(blocks): 32 weights of block 0, then 32 of block 1, unsigned
//   unpack(rows, row_bytes, v): the eight steps of a block of sixteen rows, unsigned
// Internal linkage throughout (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/lanes.h"
#include "native/kernels/avx512vnni/strip.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx512vnni {
namespace {

// Eight blocks of sixteen rows.
struct alignas(64) Strip {
  uint8_t q[8][8][64];  // [block][step]: weights 4 s .. 4 s + 3 of rows 0-15
  float d[8][16];       // [block][row]
};

// ((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))
inline float sum_group(__m256 t) {
  const __m256 pairs = _mm256_hadd_ps(t, t);
  const __m256 quads = _mm256_hadd_ps(pairs, pairs);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}

// The scales of eight blocks.
template <typename Block>
inline __m256 load_scales(const Block* w) {
  return _mm256_cvtph_ps(
      _mm_setr_epi16(static_cast<short>(load_u16(w[0].d)), static_cast<short>(load_u16(w[1].d)),
                     static_cast<short>(load_u16(w[2].d)), static_cast<short>(load_u16(w[3].d)),
                     static_cast<short>(load_u16(w[4].d)), static_cast<short>(load_u16(w[5].d)),
                     static_cast<short>(load_u16(w[6].d)), static_cast<short>(load_u16(w[7].d))));
}

template <typename Type>
inline float group_in_place(const typename Type::Block* w, const ActivationA32& a) {
  __m512i dot[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k)
    dot[k] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), Type::pair(w + 2 * k),
                                 load_64(a.q[2 * k]));
  // Even blocks in the lower 256 bits, odd ones in the upper.
  const __m512i fours = sum_fours(dot);
  const __m512i twice =
      _mm512_add_epi32(fours, _mm512_shuffle_i32x4(fours, fours, _MM_SHUFFLE(2, 3, 0, 1)));
  const __m512i in_order = _mm512_castsi256_si512(_mm256_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11));
  const __m256i sums = _mm512_castsi512_si256(_mm512_permutexvar_epi32(in_order, twice));
  const __m256i isum = _mm256_sub_epi32(
      sums, _mm256_mullo_epi32(load_32(a.sum), _mm256_set1_epi32(Type::kOffset)));
  const __m256 d = _mm256_mul_ps(load_scales(w), _mm256_load_ps(a.d));
  return sum_group(_mm256_mul_ps(d, _mm256_cvtepi32_ps(isum)));
}

template <typename Type>
inline float row_in_place(const typename Type::Block* w, uint32_t n_blocks,
                          const ActivationA32* a) {
  float acc = 0;
  for (; n_blocks >= 8; n_blocks -= 8, w += 8, ++a) acc += group_in_place<Type>(w, *a);
  if (n_blocks != 0) {
    typename Type::Block padded[8] = {};
    __builtin_memcpy(padded, w, n_blocks * sizeof *w);
    acc += group_in_place<Type>(padded, *a);
  }
  return acc;
}

// One group of kStrips strips times kPositions positions. acc: [kPositions][kStrips][16].
// next: activations of the positions after these, asked for meanwhile.
template <typename Type, int kStrips, int kPositions>
inline void strip_group(const Strip* w, const uint8_t* activations, uint64_t activation_stride,
                        const uint8_t* next, float* acc) {
  const ActivationA32* a[kPositions];
  alignas(64) int32_t start[kPositions][8];
  __m512 t[8][kPositions][kStrips];
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i) {
    a[i] = reinterpret_cast<const ActivationA32*>(activations +
                                                  static_cast<uint64_t>(i) * activation_stride);
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(start[i]),
        _mm256_mullo_epi32(load_32(a[i]->sum), _mm256_set1_epi32(-Type::kOffset)));
  }
  for (int k = 0; k < 8; ++k) {
    if (k < static_cast<int>(sizeof(ActivationA32) / 64))
      prefetch_line<kPositions>(next, activation_stride, k);
    __m512i isum[kStrips][kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
      for (int s = 0; s < kStrips; ++s) isum[s][i] = broadcast_4(&start[i][k]);
#pragma GCC unroll 8
    for (int step = 0; step < 8; ++step) {
      __m512i q[kStrips];
#pragma GCC unroll 2
      for (int s = 0; s < kStrips; ++s) q[s] = load_64(w[s].q[k][step]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m512i x = broadcast_4(a[i]->q[k] + 4 * step);
#pragma GCC unroll 2
        for (int s = 0; s < kStrips; ++s) isum[s][i] = _mm512_dpbusd_epi32(isum[s][i], q[s], x);
      }
    }
#pragma GCC unroll 2
    for (int s = 0; s < kStrips; ++s) {
      const __m512 d = _mm512_load_ps(w[s].d[k]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        t[k][i][s] = _mm512_mul_ps(_mm512_mul_ps(d, _mm512_set1_ps(a[i]->d[k])),
                                   _mm512_cvtepi32_ps(isum[s][i]));
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
    for (int s = 0; s < kStrips; ++s) {
      const __m512 first = _mm512_add_ps(_mm512_add_ps(t[0][i][s], t[1][i][s]),
                                         _mm512_add_ps(t[2][i][s], t[3][i][s]));
      const __m512 second = _mm512_add_ps(_mm512_add_ps(t[4][i][s], t[5][i][s]),
                                          _mm512_add_ps(t[6][i][s], t[7][i][s]));
      float* at = acc + (i * kStrips + s) * 16;
      _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), _mm512_add_ps(first, second)));
    }
}

// Sixteen rows of n <= 8 blocks each, to a strip.
template <typename Type>
inline void unpack_group(const uint8_t* rows, uint64_t row_bytes, uint32_t n, Strip& strip) {
  using Block = typename Type::Block;
  for (uint32_t k = 0; k < 8; ++k) {
    if (k >= n) {
      __builtin_memset(strip.q[k], 0, sizeof strip.q[k]);
      __builtin_memset(strip.d[k], 0, sizeof strip.d[k]);
      continue;
    }
    const uint8_t* block = rows + k * sizeof(Block);
    uint16_t d[16];
    for (uint32_t r = 0; r < 16; ++r)
      d[r] = load_u16(block + r * row_bytes + __builtin_offsetof(Block, d));
    _mm512_store_ps(strip.d[k], _mm512_cvtph_ps(load_32(d)));
    __m512i v[8];
    Type::unpack(block, row_bytes, v);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) _mm512_store_si512(strip.q[k][s], v[s]);
  }
}

// 16 kStrips rows times at most kStripPositions positions.
template <typename Type, int kStrips>
inline void strip_rows(const typename Type::Block* rows, uint32_t n_blocks,
                       const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                       float* out, uint64_t out_stride) {
  alignas(64) float acc[kStripPositions * kStrips * 16];
  for (uint32_t i = 0; i < n_positions * kStrips * 16; i += 16)
    _mm512_store_ps(acc + i, _mm512_setzero_ps());
  const uint64_t row_bytes = n_blocks * sizeof(typename Type::Block);
  Strip strips[kStrips];
  constexpr uint32_t kGroupBytes = 8 * sizeof(typename Type::Block);
  for (uint32_t b = 0; b < n_blocks; b += 8) {
    const uint8_t* w = reinterpret_cast<const uint8_t*>(rows + b);
    for (int s = 0; s < kStrips; ++s)
      unpack_group<Type>(w + s * kStripRows * row_bytes, row_bytes,
                         n_blocks - b < 8 ? n_blocks - b : 8, strips[s]);
    RowsAhead<kGroupBytes, kStrips * kStripRows> ahead(w + kGroupBytes, row_bytes, n_positions);
    const uint8_t* a = activations + b / 8 * sizeof(ActivationA32);
    for (uint32_t p = 0; p < n_positions;) {
      ahead.ask_for_share();
      const uint32_t n = group_of(n_positions - p);
      const uint8_t* here = a + p * activation_stride;
      const uint8_t* next =
          p + n < n_positions ? here + n * activation_stride : a + sizeof(ActivationA32);
      float* at = acc + p * kStrips * 16;
      if (n == 6)
        strip_group<Type, kStrips, 6>(strips, here, activation_stride, next, at);
      else if (n == 4)
        strip_group<Type, kStrips, 4>(strips, here, activation_stride, next, at);
      else if (n == 2)
        strip_group<Type, kStrips, 2>(strips, here, activation_stride, next, at);
      else
        strip_group<Type, kStrips, 1>(strips, here, activation_stride, next, at);
      p += n;
    }
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    for (int s = 0; s < kStrips; ++s)
      _mm512_storeu_ps(out + p * out_stride + s * kStripRows,
                       _mm512_load_ps(acc + (p * kStrips + s) * 16));
}

template <typename Type>
inline void matmul_32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                      uint64_t activation_stride, uint32_t n_positions, float* out,
                      uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 32;
  const auto row_at = [&](uint32_t r) {
    return static_cast<const typename Type::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks;
  };
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t end = rows.begin;
  if (n_positions >= kStripPositionsMin) {
    for (uint32_t p = 0; p < n_positions; p += kStripPositions) {
      const uint32_t n = n_positions - p < kStripPositions ? n_positions - p : kStripPositions;
      const uint8_t* at = a + p * activation_stride;
      uint32_t r = rows.begin;
      for (; r + 2 * kStripRows <= rows.end; r += 2 * kStripRows)
        strip_rows<Type, 2>(row_at(r), n_blocks, at, activation_stride, n, out + p * out_stride + r,
                            out_stride);
      for (; r + kStripRows <= rows.end; r += kStripRows)
        strip_rows<Type, 1>(row_at(r), n_blocks, at, activation_stride, n, out + p * out_stride + r,
                            out_stride);
      end = r;
    }
  }
  for (uint32_t r = end; r < rows.end; ++r)
    for (uint32_t p = 0; p < n_positions; ++p)
      out[p * out_stride + r] = row_in_place<Type>(
          row_at(r), n_blocks, reinterpret_cast<const ActivationA32*>(a + p * activation_stride));
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
