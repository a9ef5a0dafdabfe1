// The frame of the K-quants on AVX-512 VNNI: four rows in place for few positions, strips of sixteen
// rows for many. Same bits (E11).
//
// In place: the block integers of four rows meet in one register, so that one float expression
// serves the four of them and its latency is hidden.
// Strip: 256 weights of sixteen rows are unpacked once into L1, four weights of every row in 64
// consecutive bytes; each position then needs a broadcast and a dpbusd per step, and no horizontal
// sums. Two strips share the broadcasts.
//
// A type gives (all static):
//   Block
//   kMins: whether it has dmin
//   kOffset: what is to be subtracted from every unsigned weight (32 in Q6_K), else 0
//   kSubBlockSteps: steps of four weights per scale
//   halves(block): d, with dmin above it
//   dot(block, a): sixteen lanes that sum to isum
//   mins(block, a): four lanes that sum to msum
//   unpack(rows, row_bytes, strip): sixteen rows to a Strip
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

struct alignas(64) Strip {
  uint8_t q[64][64];      // step s: weights 4 s .. 4 s + 3 of rows 0-15, unsigned
  int32_t scale[16][16];  // [sub-block][row]
  int16_t mins[4][32];    // pair i: mins of sub-blocks 2 i and 2 i + 1 of row r in lanes 2 r, 2 r + 1
  float d[16];
  float dmin[16];
};

// Rows row[0..3], not necessarily different ones, times one position. The rows `ahead` blocks after
// them are asked for meanwhile.
template <typename Type>
inline __m128 rows_in_place(const typename Type::Block* const row[4], uint32_t n_blocks,
                            const ActivationA256* a, uint64_t ahead) {
  // d of four rows, then dmin of four rows.
  const __m128i split = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  __m128 acc = _mm_setzero_ps();
  for (uint32_t b = 0; b < n_blocks; ++b, ++a) {
    __m512i dot[4];
    int halves[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const typename Type::Block& block = row[i][b];
      // Four rows at once hide the sequence of addresses from the hardware's prefetcher.
      prefetch<sizeof block>(reinterpret_cast<const uint8_t*>(&block + ahead));
      dot[i] = Type::dot(block, *a);
      halves[i] = static_cast<int>(Type::halves(block));
    }
    const __m128i both = _mm_shuffle_epi8(
        _mm_setr_epi32(halves[0], halves[1], halves[2], halves[3]), split);
    const __m256 d = _mm256_mul_ps(_mm256_cvtph_ps(both), _mm256_set1_ps(a->d));
    acc = _mm_fmadd_ps(_mm256_castps256_ps128(d), _mm_cvtepi32_ps(sum_each(dot)), acc);
    if constexpr (Type::kMins) {
      const __m128i first = _mm_hadd_epi32(Type::mins(row[0][b], *a), Type::mins(row[1][b], *a));
      const __m128i second = _mm_hadd_epi32(Type::mins(row[2][b], *a), Type::mins(row[3][b], *a));
      const __m128 f = _mm_cvtepi32_ps(_mm_hadd_epi32(first, second));
      acc = _mm_fnmadd_ps(_mm256_extractf128_ps(d, 1), f, acc);
    }
  }
  return acc;
}

// One block of kStrips strips times kPositions positions. acc: [kPositions][kStrips][16].
// next: activations of the group after this one, asked for meanwhile.
template <typename Type, int kStrips, int kPositions>
inline void strip_block(const Strip* w, const uint8_t* activations, uint64_t activation_stride,
                        const uint8_t* next, float* acc) {
  const ActivationA256* a[kPositions];
  __m512i isum[kStrips][kPositions];
  alignas(64) int32_t start[kPositions][16];  // where the sum of a sub-block begins: -kOffset sum16
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i) {
    a[i] = reinterpret_cast<const ActivationA256*>(activations +
                                                   static_cast<uint64_t>(i) * activation_stride);
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t) isum[t][i] = _mm512_setzero_si512();
    if constexpr (Type::kOffset != 0)
      _mm512_store_si512(start[i],
                         _mm512_mullo_epi32(_mm512_cvtepi16_epi32(load_32(a[i]->sum16)),
                                            _mm512_set1_epi32(-Type::kOffset)));
  }
  for (int j = 0; j < 64 / Type::kSubBlockSteps; ++j) {
    if (j < static_cast<int>(sizeof(ActivationA256) / 64))
      prefetch_line<kPositions>(next, activation_stride, j);
    __m512i dot[kStrips][kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t)
        dot[t][i] = Type::kOffset != 0 ? broadcast_4(&start[i][j]) : _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int k = 0; k < Type::kSubBlockSteps; ++k) {
      const int s = j * Type::kSubBlockSteps + k;
      __m512i q[kStrips];
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) q[t] = load_64(w[t].q[s]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) {
        const __m512i x = broadcast_4(a[i]->q + 4 * s);
#pragma GCC unroll 2
        for (int t = 0; t < kStrips; ++t) dot[t][i] = _mm512_dpbusd_epi32(dot[t][i], q[t], x);
      }
    }
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t) {
      const __m512i scale = load_64(w[t].scale[j]);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
        isum[t][i] = _mm512_add_epi32(isum[t][i], _mm512_mullo_epi32(dot[t][i], scale));
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i) {
    const __m512 da = _mm512_set1_ps(a[i]->d);
#pragma GCC unroll 2
    for (int t = 0; t < kStrips; ++t) {
      float* at = acc + (i * kStrips + t) * 16;
      const __m512 d = _mm512_mul_ps(_mm512_load_ps(w[t].d), da);
      __m512 sum = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(isum[t][i]), _mm512_load_ps(at));
      if constexpr (Type::kMins) {
        __m512i msum = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (int pair = 0; pair < 4; ++pair)
          msum = _mm512_dpwssd_epi32(msum, load_64(w[t].mins[pair]),
                                     broadcast_4(a[i]->sum32 + 2 * pair));
        const __m512 dmin = _mm512_mul_ps(_mm512_load_ps(w[t].dmin), da);
        sum = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(msum), sum);
      }
      _mm512_store_ps(at, sum);
    }
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
  for (uint32_t b = 0; b < n_blocks; ++b) {
    const uint8_t* w = reinterpret_cast<const uint8_t*>(rows + b);
    for (int t = 0; t < kStrips; ++t)
      Type::unpack(w + t * kStripRows * row_bytes, row_bytes, strips[t]);
    RowsAhead<sizeof(typename Type::Block), kStrips * kStripRows> ahead(
        w + sizeof(typename Type::Block), row_bytes, n_positions);
    const uint8_t* a = activations + b * sizeof(ActivationA256);
    for (uint32_t p = 0; p < n_positions;) {
      ahead.ask_for_share();
      const uint32_t n = group_of(n_positions - p);
      const uint8_t* here = a + p * activation_stride;
      const uint8_t* next =
          p + n < n_positions ? here + n * activation_stride : a + sizeof(ActivationA256);
      float* at = acc + p * kStrips * 16;
      if (n == 6)
        strip_block<Type, kStrips, 6>(strips, here, activation_stride, next, at);
      else if (n == 4)
        strip_block<Type, kStrips, 4>(strips, here, activation_stride, next, at);
      else if (n == 2)
        strip_block<Type, kStrips, 2>(strips, here, activation_stride, next, at);
      else
        strip_block<Type, kStrips, 1>(strips, here, activation_stride, next, at);
      p += n;
    }
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    for (int t = 0; t < kStrips; ++t)
      _mm512_storeu_ps(out + p * out_stride + t * kStripRows,
                       _mm512_load_ps(acc + (p * kStrips + t) * 16));
}

template <typename Type>
inline void matmul_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                     uint64_t activation_stride, uint32_t n_positions, float* out,
                     uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 256;
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
  for (uint32_t r = end; r < rows.end; r += 4) {
    const uint32_t n = rows.end - r < 4 ? rows.end - r : 4;
    const typename Type::Block* row[4];  // the last row again where there are fewer than four
    for (uint32_t i = 0; i < 4; ++i) row[i] = row_at(r + (i < n ? i : n - 1));
    // Not beyond these rows: another thread reads what follows.
    const uint64_t ahead = r + 8 <= rows.end ? 4 * static_cast<uint64_t>(n_blocks) : 0;
    for (uint32_t p = 0; p < n_positions; ++p) {
      const auto* x = reinterpret_cast<const ActivationA256*>(a + p * activation_stride);
      _mm_mask_storeu_ps(out + p * out_stride + r, static_cast<__mmask8>((1u << n) - 1),
                         rows_in_place<Type>(row, n_blocks, x, ahead));
    }
  }
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
