// The frame of the 32-weight types on AVX2, in groups of eight blocks (rule E3): rows in place for
// few positions, strips of eight rows for many. Same bits (E11).
//
// In place: eight registers of int32 lanes, one per block, meet in a tree of horizontal adds as
// eight exact integers in one register; the group tree of E3 is two more horizontal adds and one of
// the halves. A short last group is copied into eight zeroed blocks: their terms are +0, as the
// rule says.
// Strip: as in k_rows.h; eight rows are the lanes and the eight terms of a group are
// added in the same tree.
//
// A type gives (all static):
//   Block
//   kOffset: subtract kOffset * (sum of a) from isum
//   kMins: whether it has a minimum m
//   kSigned: whether its weights are signed
//   kSafeSteps: steps of four weights whose int16 sums cannot saturate: 1, 2, 4 or 8
//   weights(block): 32 weights
//   scales(blocks, stride), mins(blocks, stride): of eight blocks, stride blocks apart; mins with kMins
// Dots says how a strip multiplies: pair_dots.h, avxvnni/quad_dots.h.
// Internal linkage throughout (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/avx2/lanes.h"
#include "native/kernels/avx2/pair_dots.h"
#include "native/kernels/avx2/strips.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx2 {
namespace {

// Eight blocks of eight rows.
struct alignas(32) Strip {
  uint8_t q[8][8][32];  // [block][step]: weights 4 s .. 4 s + 3 of rows 0-7
  float d[8][8];        // [block][row]
  float m[8][8];
};

// Lane i: the sum of the eight lanes of v[i].
inline __m256i sum_each(const __m256i v[8]) {
  const __m256i first =
      _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  const __m256i second =
      _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
  return _mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20),
                          _mm256_permute2x128_si256(first, second, 0x31));
}

// ((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))
inline float sum_group(__m256 t) {
  const __m256 pairs = _mm256_hadd_ps(t, t);
  const __m256 quads = _mm256_hadd_ps(pairs, pairs);
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(quads), _mm256_extractf128_ps(quads, 1)));
}

// The binary16 numbers kAt bytes into each of eight blocks, stride blocks apart.
template <int kAt, typename Block>
inline __m256 half_fields(const Block* w, uint64_t stride) {
  short halves[8];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; ++i)
    halves[i] = static_cast<short>(
        load_u16(reinterpret_cast<const uint8_t*>(w + i * stride) + kAt));
  return _mm256_cvtph_ps(_mm_setr_epi16(halves[0], halves[1], halves[2], halves[3], halves[4],
                                        halves[5], halves[6], halves[7]));
}

template <typename Type>
inline float group_in_place(const typename Type::Block* w, const ActivationA32& a) {
  __m256i v[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k)
    v[k] = _mm256_madd_epi16(products<Type::kSigned>(Type::weights(w[k]), load_32(a.q[k])),
                             _mm256_set1_epi16(1));
  __m256i isum = sum_each(v);
  if constexpr (Type::kOffset != 0)
    isum = _mm256_sub_epi32(isum,
                            _mm256_mullo_epi32(load_32(a.sum), _mm256_set1_epi32(Type::kOffset)));
  const __m256 da = _mm256_load_ps(a.d), f = _mm256_cvtepi32_ps(isum);
  const __m256 d = _mm256_mul_ps(Type::scales(w, 1), da);
  if constexpr (Type::kMins) {
    const __m256 sum = _mm256_mul_ps(da, _mm256_cvtepi32_ps(load_32(a.sum)));
    return sum_group(_mm256_fmadd_ps(d, f, _mm256_mul_ps(Type::mins(w, 1), sum)));
  }
  return sum_group(_mm256_mul_ps(d, f));
}

// Rows follow each other without a gap, and so does what is asked for. Without it the hardware's prefetcher stays behind loads of
// 18 bytes and less: Q4_0 and MXFP4 came at 5 GB/s on a core that reads 17, now at 13 (docs/decisions/0017).
constexpr uint64_t kAheadBytes = 2048;

template <typename Block>
inline void ask_for_group_ahead(const Block* w) {
  const char* bytes = reinterpret_cast<const char*>(w) + kAheadBytes;  // past the last row a prefetch does nothing
#pragma GCC unroll 8
  for (uint64_t i = 0; i < 8 * sizeof(Block); i += 64) _mm_prefetch(bytes + i, _MM_HINT_T0);
}

template <typename Type>
inline float row_in_place(const typename Type::Block* w, uint32_t n_blocks,
                          const ActivationA32* a) {
  float acc = 0;
  for (; n_blocks >= 8; n_blocks -= 8, w += 8, ++a) {
    ask_for_group_ahead(w);
    acc += group_in_place<Type>(w, *a);
  }
  if (n_blocks != 0) {
    typename Type::Block padded[8] = {};
    __builtin_memcpy(padded, w, n_blocks * sizeof *w);
    acc += group_in_place<Type>(padded, *a);
  }
  return acc;
}

template <typename Type, typename Dots>
struct Strips32 {
  using Block = typename Type::Block;
  using Activation = ActivationA32;
  using Strip = avx2::Strip;
  static constexpr uint32_t kGroupBlocks = 8;
  static constexpr uint32_t kGroupPositions = Dots::kGroupPositions;

  static void unpack(const Block* rows, uint64_t row_blocks, uint32_t n, Strip& strip) {
    for (uint32_t k = 0; k < 8; ++k) {
      if (k >= n) {
        __builtin_memset(strip.q[k], 0, sizeof strip.q[k]);
        __builtin_memset(strip.d[k], 0, sizeof strip.d[k]);
        __builtin_memset(strip.m[k], 0, sizeof strip.m[k]);
        continue;
      }
      _mm256_store_ps(strip.d[k], Type::scales(rows + k, row_blocks));
      if constexpr (Type::kMins) _mm256_store_ps(strip.m[k], Type::mins(rows + k, row_blocks));
      __m256i v[8];
#pragma GCC unroll 8
      for (uint32_t r = 0; r < 8; ++r) v[r] = Type::weights(rows[r * row_blocks + k]);
      transpose_8x8(v);
      for (int s = 0; s < 8; ++s)
        _mm256_store_si256(reinterpret_cast<__m256i*>(strip.q[k][s]), Dots::template stored<Type>(v[s]));
    }
  }

  template <int kStrips, int kPositions>
  static void multiply(const Strip* w, const uint8_t* activations, uint64_t stride, const uint8_t* next, float (*acc)[8]) {
    constexpr int kOffset = Type::kOffset + Dots::template kAdded<Type>;
    const ActivationA32* a[kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) {
      a[i] = reinterpret_cast<const ActivationA32*>(activations + static_cast<uint64_t>(i) * stride);
      ask_for<sizeof(ActivationA32) - 63>(next + static_cast<uint64_t>(i) * stride);
    }
    __m256 t[kStrips][kPositions][8];
    for (int k = 0; k < 8; ++k) {
      Steps q[kStrips];
      const int8_t* x[kPositions];
#pragma GCC unroll 2
      for (int s = 0; s < kStrips; ++s) q[s] = w[s].q[k];
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) x[i] = a[i]->q[k];
      __m256i isum[kStrips][kPositions];
      Dots::template dot_32<Type, kStrips, kPositions>(q, x, isum);
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
        for (int s = 0; s < kStrips; ++s) {
          if constexpr (kOffset != 0)
            isum[s][i] = _mm256_sub_epi32(isum[s][i], _mm256_set1_epi32(kOffset * a[i]->sum[k]));
          const __m256 both = _mm256_mul_ps(_mm256_load_ps(w[s].d[k]), _mm256_set1_ps(a[i]->d[k]));
          const __m256 f = _mm256_cvtepi32_ps(isum[s][i]);
          if constexpr (Type::kMins)
            t[s][i][k] = _mm256_fmadd_ps(both, f,
                                         _mm256_mul_ps(_mm256_load_ps(w[s].m[k]),
                                                       _mm256_set1_ps(a[i]->d[k] * static_cast<float>(a[i]->sum[k]))));
          else
            t[s][i][k] = _mm256_mul_ps(both, f);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
      for (int s = 0; s < kStrips; ++s) {
        const __m256* of = t[s][i];
        const __m256 first = _mm256_add_ps(_mm256_add_ps(of[0], of[1]), _mm256_add_ps(of[2], of[3]));
        const __m256 second = _mm256_add_ps(_mm256_add_ps(of[4], of[5]), _mm256_add_ps(of[6], of[7]));
        float* at = acc[i * kStrips + s];
        _mm256_store_ps(at, _mm256_add_ps(_mm256_load_ps(at), _mm256_add_ps(first, second)));
      }
  }
};

template <typename Type, typename Dots = PairDots>
inline void matmul_32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                      uint64_t activation_stride, uint32_t n_positions, float* out,
                      uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 32;
  const auto row_at = [&](uint32_t r) {
    return static_cast<const typename Type::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks;
  };
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t r = matmul_strips<Strips32<Type, Dots>>(weights, n_blocks, rows, a, activation_stride, n_positions, out, out_stride);
  for (; r < rows.end; ++r)
    for (uint32_t p = 0; p < n_positions; ++p)
      out[p * out_stride + r] = row_in_place<Type>(
          row_at(r), n_blocks, reinterpret_cast<const ActivationA32*>(a + p * activation_stride));
}

}  // namespace
}  // namespace hypura::kernels::avx2
