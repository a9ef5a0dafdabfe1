// The frame of the K-quants on AVX2: two rows in place for few positions, strips of eight rows for
// many. Same bits (E11).
//
// In place: two rows side by side hide the latency of the serial float chain. Their integers meet
// in one register as {isum, msum} of row 0, {isum, msum} of row 1, so one vector fma serves both.
// Strip: 256 weights of eight rows are unpacked once into L1, four weights of every row in 32
// consecutive bytes; each position then needs a broadcast, maddubs and an add per step, and no
// horizontal sums. Eight rows are the lanes.
//
// A type gives (all static):
//   Block
//   kMins: how many minima a block has: 0, 8 or 16
//   kOffset: subtract kOffset * sum_j scale_j sum16_j from isum (32 in Q6_K), else 0
//   kSigned: whether the weights in a strip are signed
//   kSubBlockSteps: steps of four weights per scale: 4 or 8
//   kSafeSteps: steps whose int16 sums cannot saturate
//   halves(block): d, with dmin above it
//   dot(block, a): eight lanes that sum to isum
//   mins(block, a): four lanes that sum to msum, if kMins
//   unpack(row, stride, strip): eight rows, stride blocks apart, to a Strip but for its floats
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

struct alignas(32) Strip {
  uint8_t q[64][32];      // step s: weights 4 s .. 4 s + 3 of rows 0-7
  int16_t scale[16][16];  // sub-block j: scale of row r in lanes 2 r and 2 r + 1
  int16_t pairs[8][16];   // pair i: mins (or scales, with kOffset) of sub-blocks 2 i and 2 i + 1 of
                          // row r
  float d[8];
  float dmin[8];
};

// Two rows at once are two sequences of addresses. Of types with large blocks, whose arithmetic is short beside their bytes, they are
// the rows of two halves of a piece, and what follows in them is asked for: that goes on from row to row. Of Q2_K and
// Q3_K they are neighbours, and the next pair is asked for, which is faster there (docs/decisions/0017). Past the
// last row this asks for memory that may not exist, which a prefetch ignores.
template <typename Type>
constexpr bool kHalves = sizeof(typename Type::Block) > 128;
constexpr uint64_t kAheadBytes = 2048;

template <typename Block>
inline void prefetch_block(const Block* block, uint64_t ahead) {
  const char* bytes = reinterpret_cast<const char*>(block) + ahead;
#pragma GCC unroll 4
  for (uint64_t i = 0; i < sizeof(Block); i += 64) _mm_prefetch(bytes + i, _MM_HINT_T0);
}

template <typename Type>
inline void rows_in_place(const typename Type::Block* row0, const typename Type::Block* row1,
                          uint32_t n_blocks, const ActivationA256* a, float* y0, float* y1) {
  const uint64_t ahead = kHalves<Type> ? kAheadBytes : 2 * n_blocks * sizeof(typename Type::Block);
  __m128 acc = _mm_setzero_ps();  // lanes 0 and 2 count; 1 and 3 are not read
  for (uint32_t b = 0; b < n_blocks; ++b, ++a) {
    prefetch_block(row0 + b, ahead);
    prefetch_block(row1 + b, ahead);
    const uint64_t halves = Type::halves(row0[b]) | static_cast<uint64_t>(Type::halves(row1[b]))
                                                        << 32;
    const __m128 d = _mm_mul_ps(_mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<long long>(halves))),
                                _mm_set1_ps(a->d));
    const __m256i dot0 = Type::dot(row0[b], *a), dot1 = Type::dot(row1[b], *a);
    const __m128i four0 =
        _mm_add_epi32(_mm256_castsi256_si128(dot0), _mm256_extracti128_si256(dot0, 1));
    const __m128i four1 =
        _mm_add_epi32(_mm256_castsi256_si128(dot1), _mm256_extracti128_si256(dot1, 1));
    if constexpr (Type::kMins != 0) {
      const __m128i sums = _mm_hadd_epi32(_mm_hadd_epi32(four0, Type::mins(row0[b], *a)),
                                          _mm_hadd_epi32(four1, Type::mins(row1[b], *a)));
      const __m128 f = _mm_cvtepi32_ps(sums);
      acc = _mm_fmadd_ps(d, f, acc);
      acc = _mm_fnmadd_ps(_mm_movehdup_ps(d), _mm_movehdup_ps(f), acc);
    } else {
      const __m128i two = _mm_hadd_epi32(four0, four1);
      const __m128i sums = _mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1));
      acc = _mm_fmadd_ps(d, _mm_cvtepi32_ps(sums), acc);
    }
  }
  *y1 = _mm_cvtss_f32(_mm_movehl_ps(acc, acc));
  *y0 = _mm_cvtss_f32(acc);
}

template <typename Type, typename Dots>
struct StripsK {
  using Block = typename Type::Block;
  using Activation = ActivationA256;
  using Strip = avx2::Strip;
  static constexpr uint32_t kGroupBlocks = 1;
  static constexpr uint32_t kGroupPositions = Dots::kGroupPositions;

  static void unpack(const Block* rows, uint64_t row_blocks, uint32_t, Strip& strip) {
    Type::unpack(rows, row_blocks, strip);
    for (int r = 0; r < 8; ++r) {
      const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(Type::halves(rows[uint64_t(r) * row_blocks]))));
      strip.d[r] = _mm_cvtss_f32(d);
      strip.dmin[r] = _mm_cvtss_f32(_mm_movehdup_ps(d));
    }
  }

  template <int kStrips, int kPositions>
  static void multiply(const Strip* w, const uint8_t* activations, uint64_t stride, const uint8_t* next, float (*acc)[8]) {
    const ActivationA256* a[kPositions];
    __m256i isum[kStrips][kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) {
      a[i] = reinterpret_cast<const ActivationA256*>(activations + static_cast<uint64_t>(i) * stride);
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) isum[t][i] = _mm256_setzero_si256();
      ask_for<sizeof(ActivationA256) - 63>(next + static_cast<uint64_t>(i) * stride);
    }
    for (int j = 0; j < 64 / Type::kSubBlockSteps; ++j) {
      const int first = j * Type::kSubBlockSteps;
      Steps q[kStrips];
      __m256i scale[kStrips];
      const int8_t* x[kPositions];
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) {
        q[t] = w[t].q + first;
        scale[t] = load_32(w[t].scale[j]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) x[i] = a[i]->q + 4 * first;
      Dots::template add_sub_block<Type, kStrips, kPositions>(q, scale, x, isum);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
      for (int t = 0; t < kStrips; ++t) finish(w[t], *a[i], isum[t][i], acc[i * kStrips + t]);
  }

  // The floats of a block of eight rows and one position (rule E2).
  __attribute__((always_inline)) static void finish(const Strip& w, const ActivationA256& a, __m256i isum, float* acc) {
    __m256i paired = _mm256_setzero_si256();
    if constexpr (Type::kMins != 0 || Type::kOffset != 0) {
      const int16_t* sums = Type::kMins == 8 ? a.sum32 : a.sum16;
      for (int j = 0; j < (Type::kMins == 8 ? 4 : 8); ++j)
        paired = _mm256_add_epi32(paired, _mm256_madd_epi16(load_32(w.pairs[j]), broadcast_4(sums + 2 * j)));
    }
    if constexpr (Type::kOffset != 0)
      isum = _mm256_sub_epi32(isum, _mm256_mullo_epi32(paired, _mm256_set1_epi32(Type::kOffset)));
    const __m256 da = _mm256_set1_ps(a.d);
    __m256 sum = _mm256_load_ps(acc);
    sum = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(w.d), da), _mm256_cvtepi32_ps(isum), sum);
    if constexpr (Type::kMins != 0)
      sum = _mm256_fnmadd_ps(_mm256_mul_ps(_mm256_load_ps(w.dmin), da), _mm256_cvtepi32_ps(paired), sum);
    _mm256_store_ps(acc, sum);
  }
};

template <typename Type, typename Dots = PairDots>
inline void matmul_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                     uint64_t activation_stride, uint32_t n_positions, float* out,
                     uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 256;
  const auto row_at = [&](uint32_t r) {
    return static_cast<const typename Type::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks;
  };
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t r = matmul_strips<StripsK<Type, Dots>>(weights, n_blocks, rows, a, activation_stride, n_positions, out, out_stride);
  const auto two_rows = [&](uint32_t first, uint32_t second) {
    for (uint32_t p = 0; p < n_positions; ++p) {
      const auto* x = reinterpret_cast<const ActivationA256*>(a + p * activation_stride);
      float* y = out + p * out_stride;
      rows_in_place<Type>(row_at(first), row_at(second), n_blocks, x, y + first, y + second);
    }
  };
  if constexpr (kHalves<Type>) {
    const uint32_t half = (rows.end - r) / 2, end = r + half;
    for (; r < end; ++r) two_rows(r, r + half);
    r += half;
  }
  for (; r < rows.end; r += 2) two_rows(r, r + 1 < rows.end ? r + 1 : r);
}

}  // namespace
}  // namespace hypura::kernels::avx2
