// The frame of the 32-weight types on AVX-512 VNNI, in groups of eight blocks (rule E3): four rows in
// place for few positions, strips of sixteen rows for many. Same bits (E11).
//
// In place: sixteen bytes of each of four blocks fill a register, so a dpbusd adds up four blocks
// side by side, and the two halves of a block meet in one accumulator. A group of two rows ends as
// sixteen integers in one register, in *lane order*: 128-bit lane l holds blocks o(l) and 4 + o(l)
// of the first row, then of the second, with o = 0, 2, 1, 3. Adding halves of the register then
// gives (t0 + t1) + (t2 + t3) and (t4 + t5) + (t6 + t7), the tree of the rule.
// A short last group is copied into eight zeroed blocks: their terms are +0, as the rule says.
// Strip: as in k_rows.h; sixteen rows are the lanes and the eight terms of a group are added in the
// same tree. Weights are unsigned in both, kOffset too large.
//
// A type gives (all static):
//   Block; kOffset; kMins: whether it has a minimum m
//   weights(blocks, v): of eight blocks, unsigned: v[0] the first sixteen weights of blocks 0, 2, 1
//     and 3, v[1] the other sixteen, v[2] and v[3] those of blocks 4, 6, 5 and 7
//   scales(row0, row1), mins(row0, row1): of eight blocks of two rows, in lane order
//   strip_scales(rows, row_bytes), strip_mins(rows, row_bytes): of a block of sixteen rows
//   unpack(rows, row_bytes, v): the eight steps of a block of sixteen rows, unsigned
// mins and strip_mins only with kMins. fields_32.h has the usual forms of all these.
// Internal linkage throughout (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/avx512vnni/lanes.h"
#include "native/kernels/avx512vnni/matmul.h"

namespace hypura::kernels::avx512vnni {
namespace {

// Eight blocks of sixteen rows.
struct alignas(64) Strip32 {
  uint8_t q[8][8][64];  // [block][step]: weights 4 s .. 4 s + 3 of rows 0-15
  float d[8][16];       // [block][row]
  float m[8][16];
};

// Eight values, one per block, to lane order, the same for both rows.
inline __m512i to_lane_order(__m256i of_blocks) {
  const __m512i order = _mm512_setr_epi32(0, 4, 0, 4, 2, 6, 2, 6, 1, 5, 1, 5, 3, 7, 3, 7);
  return _mm512_permutexvar_epi32(order, _mm512_castsi256_si512(of_blocks));
}

inline __m512 to_lane_order(__m256 of_blocks) {
  return _mm512_castsi512_ps(to_lane_order(_mm256_castps_si256(of_blocks)));
}

// What a group of activations contributes to any row.
struct Group {
  __m512i q[4];   // as the weights of a type
  __m512i start;  // -kOffset * sum, in lane order, as the next two
  __m512 d;
  __m512 dsum;    // d * float(sum)

  Group(const ActivationA32& a, int offset) {
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    const __m512i second = _mm512_add_epi64(first, _mm512_set1_epi64(2));
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m512i low = load_64(a.q[4 * h]), high = load_64(a.q[4 * h + 2]);
      q[2 * h] = _mm512_permutex2var_epi64(low, first, high);
      q[2 * h + 1] = _mm512_permutex2var_epi64(low, second, high);
    }
    const __m256i sum = load_32(a.sum);
    const __m256 scale = _mm256_load_ps(a.d);
    start = to_lane_order(_mm256_mullo_epi32(sum, _mm256_set1_epi32(-offset)));
    d = to_lane_order(scale);
    dsum = to_lane_order(_mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum)));
  }
};

template <typename Type>
struct Rows32 {
  using Block = typename Type::Block;
  using Activation = ActivationA32;
  using Strip = Strip32;
  static constexpr uint32_t kGroup = 8;
  static constexpr uint32_t kStripPositionsMin = 3;

  // In each 128-bit lane l: two sums of block o(l), two of block 4 + o(l).
  static __m512i half_sums(const Block* w, const Group& a) {
    __m512i v[4], dot[2];
    Type::weights(w, v);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h)
      dot[h] = _mm512_dpbusd_epi32(
          _mm512_dpbusd_epi32(_mm512_setzero_si512(), v[2 * h], a.q[2 * h]), v[2 * h + 1],
          a.q[2 * h + 1]);
    return _mm512_add_epi32(_mm512_unpacklo_epi64(dot[0], dot[1]),
                            _mm512_unpackhi_epi64(dot[0], dot[1]));
  }

  // One group of two rows: {t0 .. t3, t4 .. t7} of the first, then of the second.
  static __m128 group_of_two(const Block* row0, const Block* row1, const Group& a) {
    const __m512 first = _mm512_castsi512_ps(half_sums(row0, a));
    const __m512 second = _mm512_castsi512_ps(half_sums(row1, a));
    const __m512i even = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0x88));
    const __m512i odd = _mm512_castps_si512(_mm512_shuffle_ps(first, second, 0xdd));
    const __m512i isum = _mm512_add_epi32(_mm512_add_epi32(even, odd), a.start);
    const __m512 d = _mm512_mul_ps(Type::scales(row0, row1), a.d), f = _mm512_cvtepi32_ps(isum);
    __m512 t;
    if constexpr (Type::kMins)
      t = _mm512_fmadd_ps(d, f, _mm512_mul_ps(Type::mins(row0, row1), a.dsum));
    else
      t = _mm512_mul_ps(d, f);
    const __m256 pairs = _mm256_add_ps(_mm512_castps512_ps256(t), _mm512_extractf32x8_ps(t, 1));
    return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
  }

  static __m128 group_in_place(const Block* const row[4], const ActivationA32& a) {
    const Group group(a, Type::kOffset);
    return _mm_hadd_ps(group_of_two(row[0], row[1], group), group_of_two(row[2], row[3], group));
  }

  template <RowOrder kOrder>
  static __m128 rows_in_place(const Block* const row[4], uint32_t n_blocks, const Activation* a,
                              uint64_t ahead) {
    __m128 acc = _mm_setzero_ps();
    uint32_t b = 0;
    for (; b + 8 <= n_blocks; b += 8, ++a) {
      const Block* const here[4] = {row[0] + b, row[1] + b, row[2] + b, row[3] + b};
      prefetch_rows<kOrder, 8 * sizeof(Block)>(here, ahead);
      acc = _mm_add_ps(acc, group_in_place(here, *a));
    }
    if (b == n_blocks) return acc;
    Block padded[4][8] = {};
    for (int i = 0; i < 4; ++i)
      __builtin_memcpy(padded[i], row[i] + b, (n_blocks - b) * sizeof(Block));
    const Block* const last[4] = {padded[0], padded[1], padded[2], padded[3]};
    return _mm_add_ps(acc, group_in_place(last, *a));
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, uint32_t n, Strip& strip) {
    for (uint32_t k = 0; k < 8; ++k) {
      if (k >= n) {
        __builtin_memset(strip.q[k], 0, sizeof strip.q[k]);
        __builtin_memset(strip.d[k], 0, sizeof strip.d[k]);
        __builtin_memset(strip.m[k], 0, sizeof strip.m[k]);
        continue;
      }
      const uint8_t* block = rows + k * sizeof(Block);
      _mm512_store_ps(strip.d[k], Type::strip_scales(block, row_bytes));
      if constexpr (Type::kMins) _mm512_store_ps(strip.m[k], Type::strip_mins(block, row_bytes));
      __m512i v[8];
      Type::unpack(block, row_bytes, v);
#pragma GCC unroll 8
      for (int s = 0; s < 8; ++s) _mm512_store_si512(strip.q[k][s], v[s]);
    }
  }

  template <int kStrips, int kPositions>
  static void strip_group(const Strip* w, const uint8_t* activations, uint64_t activation_stride,
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
        for (int i = 0; i < kPositions; ++i) {
          const __m512 both = _mm512_mul_ps(d, _mm512_set1_ps(a[i]->d[k]));
          const __m512 f = _mm512_cvtepi32_ps(isum[s][i]);
          if constexpr (Type::kMins)
            t[k][i][s] = _mm512_fmadd_ps(
                both, f,
                _mm512_mul_ps(_mm512_load_ps(w[s].m[k]),
                              _mm512_set1_ps(a[i]->d[k] * static_cast<float>(a[i]->sum[k]))));
          else
            t[k][i][s] = _mm512_mul_ps(both, f);
        }
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
};

template <typename Type, RowOrder kOrder = RowOrder::kNeighbours>
inline void matmul_32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                      uint64_t activation_stride, uint32_t n_positions, float* out,
                      uint64_t out_stride) {
  matmul<Rows32<Type>, kOrder>(weights, n_cols / 32, rows, activations, activation_stride, n_positions, out,
                       out_stride);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
