// The frame of the 32-weight types on NEON, in groups of eight blocks (rule E3): rows in place for few
// positions, strips of eight rows (strip.h) for many. Same bits (E11).
//
// In place: four int32 lanes per block meet in a tree of pairwise adds as eight exact integers in two
// registers; the group tree of E3 is pairwise adds too. A short last group is copied into eight zeroed
// blocks: their terms are +0, as the rule says.
//
// A type gives (all static):
//   Block
//   kMins: whether it has a minimum m
//   weights(block): 32 signed weights
//   scales(blocks, stride), mins(blocks, stride): of eight blocks, stride blocks apart; mins if kMins
// Internal linkage throughout (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/strip.h"

namespace hypura::kernels::neon_dotprod {
namespace {

struct Eight {
  float32x4_t first;
  float32x4_t second;
};

// The binary16 numbers kAt bytes into each of eight blocks, stride blocks apart.
template <int kAt, typename Block>
inline Eight half_fields(const Block* w, uint64_t stride) {
  uint16_t halves[8];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; ++i)
    halves[i] = load_u16(reinterpret_cast<const uint8_t*>(w + i * stride) + kAt);
  return {widen_halves(vld1_u16(halves)), widen_halves(vld1_u16(halves + 4))};
}

// Lane i: the sum of the four lanes of v[i].
inline int32x4_t sum_each(const int32x4_t v[4]) {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

template <typename Type>
inline float group_in_place(const typename Type::Block* w, const ActivationA32& a) {
  int32x4_t v[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    const Weights32 q = Type::weights(w[k]);
    v[k] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), q.first, vld1q_s8(a.q[k])), q.second,
                     vld1q_s8(a.q[k] + 16));
  }
  const Eight d = Type::scales(w, 1);
  float32x4_t t[2] = {vmulq_f32(d.first, vld1q_f32(a.d)), vmulq_f32(d.second, vld1q_f32(a.d + 4))};
  const float32x4_t f[2] = {vcvtq_f32_s32(sum_each(v)), vcvtq_f32_s32(sum_each(v + 4))};
  if constexpr (Type::kMins) {
    const Eight m = Type::mins(w, 1);
    const float32x4_t min[2] = {m.first, m.second};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const float32x4_t sum =
          vmulq_f32(vld1q_f32(a.d + 4 * h), vcvtq_f32_s32(vld1q_s32(a.sum + 4 * h)));
      t[h] = vfmaq_f32(vmulq_f32(min[h], sum), t[h], f[h]);
    }
  } else {
    t[0] = vmulq_f32(t[0], f[0]);
    t[1] = vmulq_f32(t[1], f[1]);
  }
  const float32x4_t pairs = vpaddq_f32(t[0], t[1]);
  return vpadds_f32(vpadd_f32(vget_low_f32(pairs), vget_high_f32(pairs)));
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

template <typename Type>
inline void rows_in_place(const void* weights, uint32_t n_cols, RowRange rows,
                          const void* activations, uint64_t activation_stride,
                          uint32_t n_positions, float* out, uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 32;
  for (uint32_t r = rows.begin; r < rows.end; ++r)
    for (uint32_t p = 0; p < n_positions; ++p)
      out[p * out_stride + r] = row_in_place<Type>(
          static_cast<const typename Type::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks,
          n_blocks,
          reinterpret_cast<const ActivationA32*>(static_cast<const uint8_t*>(activations) +
                                                 p * activation_stride));
}

// Eight blocks of eight rows.
struct alignas(64) Strip32 {
  int8_t q[8][2][128];  // [block]: sixteen weights of each row, arranged
  float d[8][8];        // [block][row]
  float m[8][8];
};

inline void store_eight(Eight values, float out[8]) {
  vst1q_f32(out, values.first);
  vst1q_f32(out + 4, values.second);
}

// Eight rows of n <= 8 blocks each, to a strip.
template <typename Type, typename Way>
inline void unpack_strip(const typename Type::Block* rows, uint64_t row_blocks, uint32_t n,
                         Strip32& strip) {
  if (n < 8) __builtin_memset(&strip, 0, sizeof strip);
  for (uint32_t k = 0; k < n; ++k) {
    store_eight(Type::scales(rows + k, row_blocks), strip.d[k]);
    if constexpr (Type::kMins) store_eight(Type::mins(rows + k, row_blocks), strip.m[k]);
    int8x16_t first[8], second[8];
#pragma GCC unroll 8
    for (uint32_t r = 0; r < 8; ++r) {
      const Weights32 q = Type::weights(rows[r * row_blocks + k]);
      first[r] = q.first;
      second[r] = q.second;
    }
    Way::arrange(first, strip.q[k][0]);
    Way::arrange(second, strip.q[k][1]);
  }
}

// Terms of block k of a strip, of rows 4 h .. 4 h + 3 and each position.
template <typename Type, typename Way, int kPositions>
inline void strip_terms(const Strip32& w, int k, const ActivationA32* const* a,
                        float32x4_t (*t)[2]) {
  constexpr int kRegisters = Way::template kRegisters<kPositions>;
  int32x4_t dot[kRegisters];
#pragma GCC unroll 16
  for (int i = 0; i < kRegisters; ++i) dot[i] = vdupq_n_s32(0);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const int8_t* x[kPositions];
#pragma GCC unroll 8
    for (int i = 0; i < kPositions; ++i) x[i] = a[i]->q[k] + 16 * half;
    Way::template add_products<kPositions>(w.q[k][half], x, dot);
  }
  int32x4_t isum[kPositions][2];
  Way::template by_rows<kPositions>(dot, isum);
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i) {
    const float da = a[i]->d[k];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const float32x4_t d = vmulq_n_f32(vld1q_f32(w.d[k] + 4 * h), da);
      const float32x4_t f = vcvtq_f32_s32(isum[i][h]);
      if constexpr (Type::kMins) {
        const float sum = da * static_cast<float>(a[i]->sum[k]);
        t[i][h] = vfmaq_f32(vmulq_n_f32(vld1q_f32(w.m[k] + 4 * h), sum), d, f);
      } else {
        t[i][h] = vmulq_f32(d, f);
      }
    }
  }
}

// One group of a strip times kPositions positions; acc: [kPositions][8].
template <typename Type, typename Way, int kPositions>
inline void strip_group(const Strip32& w, const uint8_t* activations, uint64_t activation_stride,
                        float (*acc)[8]) {
  const ActivationA32* a[kPositions];
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
    a[i] = reinterpret_cast<const ActivationA32*>(activations +
                                                  static_cast<uint64_t>(i) * activation_stride);
  float32x4_t t[8][kPositions][2];
  for (int k = 0; k < 8; ++k) strip_terms<Type, Way, kPositions>(w, k, a, t[k]);
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const auto pair = [&](int k) { return vaddq_f32(t[k][i][h], t[k + 1][i][h]); };
      const float32x4_t group =
          vaddq_f32(vaddq_f32(pair(0), pair(2)), vaddq_f32(pair(4), pair(6)));
      float* sum = acc[i] + 4 * h;
      vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), group));
    }
}

// Eight rows times at most kStripPositions positions.
template <typename Type, typename Way>
inline void strip_rows(const typename Type::Block* rows, uint32_t n_blocks,
                       const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                       float* out, uint64_t out_stride) {
  alignas(64) float acc[kStripPositions][8];
  __builtin_memset(acc, 0, n_positions * sizeof acc[0]);
  Strip32 strip;
  for (uint32_t b = 0; b < n_blocks; b += 8) {
    unpack_strip<Type, Way>(rows + b, n_blocks, n_blocks - b < 8 ? n_blocks - b : 8, strip);
    const uint8_t* a = activations + b / 8 * sizeof(ActivationA32);
    uint32_t p = 0;
    for (; p + 4 <= n_positions; p += 4)
      strip_group<Type, Way, 4>(strip, a + p * activation_stride, activation_stride, acc + p);
    for (; p < n_positions; ++p)
      strip_group<Type, Way, 1>(strip, a + p * activation_stride, activation_stride, acc + p);
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    __builtin_memcpy(out + p * out_stride, acc[p], sizeof acc[p]);
}

template <typename Type>
inline void matmul_32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                      uint64_t activation_stride, uint32_t n_positions, float* out,
                      uint64_t out_stride) {
  matmul_strips<typename Type::Block, 32, Sdot::kStripPositionsMin, strip_rows<Type, Sdot>,
                rows_in_place<Type>>(weights, n_cols, rows, activations, activation_stride,
                                     n_positions, out, out_stride);
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
