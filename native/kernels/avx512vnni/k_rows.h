// The frame of the 256-weight types on AVX-512 VNNI: four rows in place for few positions, strips of
// sixteen rows for many. Same bits (E11).
//
// In place: the block integers of four rows meet in one register, so that one float expression
// serves the four of them and its latency is hidden.
// Strip: 256 weights of sixteen rows are unpacked once into L1, four weights of every row in 64
// consecutive bytes; each position then needs a broadcast and a dpbusd per step, and no horizontal
// sums. Two strips share the broadcasts.
//
// A type gives (all static):
//   Block
//   kMins: how many minima a block has: 0, 8 or 16
//   kOffset: what is to be subtracted from every unsigned weight (32 in Q6_K), else 0
//   kSubBlockSteps: steps of four weights per scale: 4 or 8
//   four_blocks(rows, a): a block of each of four rows in place, as FourBlocks
//   unpack(rows, row_bytes, strip): sixteen rows to a Strip
// Internal linkage throughout (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/four_rows.h"
#include "native/kernels/avx512vnni/lanes.h"
#include "native/kernels/avx512vnni/matmul.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct alignas(64) Strip {
  uint8_t q[64][64];      // step s: weights 4 s .. 4 s + 3 of rows 0-15, unsigned
  int32_t scale[16][16];  // [sub-block][row]
  int16_t mins[8][32];    // pair i: mins of sub-blocks 2 i and 2 i + 1 of row r in lanes 2 r, 2 r + 1
  float d[16];
  float dmin[16];
};

template <typename Type>
struct KRows {
  using Block = typename Type::Block;
  using Activation = ActivationA256;
  using Strip = avx512vnni::Strip;
  static constexpr uint32_t kGroup = 1;
  static constexpr uint32_t kStripPositionsMin = 2;

  template <RowOrder kOrder>
  static __m128 rows_in_place(const Block* const row[4], uint32_t n_blocks, const Activation* a,
                              uint64_t ahead) {
    // d of four rows, then dmin of four rows.
    const __m128i split = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m128 acc = _mm_setzero_ps();
    for (uint32_t b = 0; b < n_blocks; ++b, ++a) {
      const Block* const here[4] = {row[0] + b, row[1] + b, row[2] + b, row[3] + b};
      prefetch_rows<kOrder, sizeof(Block)>(here, ahead);
      const FourBlocks four = Type::four_blocks(here, *a);
      const __m256 d = _mm256_mul_ps(_mm256_cvtph_ps(_mm_shuffle_epi8(four.halves, split)),
                                     _mm256_set1_ps(a->d));
      acc = _mm_fmadd_ps(_mm256_castps256_ps128(d), _mm_cvtepi32_ps(four.isum), acc);
      if constexpr (Type::kMins != 0)
        acc = _mm_fnmadd_ps(_mm256_extractf128_ps(d, 1), _mm_cvtepi32_ps(four.msum), acc);
    }
    return acc;
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, uint32_t, Strip& strip) {
    Type::unpack(rows, row_bytes, strip);
  }

  template <int kStrips, int kPositions>
  static void strip_group(const Strip* w, const uint8_t* activations, uint64_t activation_stride,
                          const uint8_t* next, float* acc) {
    const ActivationA256* a[kPositions];
    __m512i isum[kStrips][kPositions];
    alignas(64) int32_t start[kPositions][16];  // where the sum of a sub-block begins: -kOffset sum
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) {
      a[i] = reinterpret_cast<const ActivationA256*>(activations +
                                                     static_cast<uint64_t>(i) * activation_stride);
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) isum[t][i] = _mm512_setzero_si512();
      if constexpr (Type::kOffset != 0) {
        const __m256i sums = Type::kSubBlockSteps == 4
                                 ? load_32(a[i]->sum16)
                                 : _mm256_castsi128_si256(load_16(a[i]->sum32));
        _mm512_store_si512(start[i], _mm512_mullo_epi32(_mm512_cvtepi16_epi32(sums),
                                                        _mm512_set1_epi32(-Type::kOffset)));
      }
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
        if constexpr (Type::kMins != 0) {
          const int16_t* sums = Type::kMins == 8 ? a[i]->sum32 : a[i]->sum16;
          __m512i msum = _mm512_setzero_si512();
#pragma GCC unroll 8
          for (int pair = 0; pair < Type::kMins / 2; ++pair)
            msum = _mm512_dpwssd_epi32(msum, load_64(w[t].mins[pair]),
                                       broadcast_4(sums + 2 * pair));
          const __m512 dmin = _mm512_mul_ps(_mm512_load_ps(w[t].dmin), da);
          sum = _mm512_fnmadd_ps(dmin, _mm512_cvtepi32_ps(msum), sum);
        }
        _mm512_store_ps(at, sum);
      }
    }
  }
};

// Scales 4 i .. 4 i + 3 of sixteen rows lie in the bytes of bytes[i], signed.
template <int kWords>
inline void store_scales(const __m512i* bytes, Strip& strip) {
#pragma GCC unroll 16
  for (int j = 0; j < 4 * kWords; ++j)
    _mm512_store_si512(strip.scale[j],
                       _mm512_srai_epi32(_mm512_slli_epi32(bytes[j / 4], 24 - 8 * (j % 4)), 24));
}

// Minima likewise, unsigned.
template <int kWords>
inline void store_mins(const __m512i* bytes, Strip& strip) {
  // Bytes 0 and 1 of each lane as a pair of int16.
  const __m512i pair = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
#pragma GCC unroll 8
  for (int i = 0; i < 2 * kWords; ++i)
    _mm512_store_si512(strip.mins[i],
                       _mm512_shuffle_epi8(_mm512_srli_epi32(bytes[i / 2], 16 * (i % 2)), pair));
}

template <typename Type, RowOrder kOrder = RowOrder::kNeighbours>
inline void matmul_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                     uint64_t activation_stride, uint32_t n_positions, float* out,
                     uint64_t out_stride) {
  matmul<KRows<Type>, kOrder>(weights, n_cols / 256, rows, activations, activation_stride, n_positions, out,
                      out_stride);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
