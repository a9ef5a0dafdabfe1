// The frame of the K-quants on NEON: rows in place for few positions, strips of eight rows (strip.h)
// for many. Same bits (E11).
//
// In place: one row at a time; sixteen products of a sub-block meet in one register, a multiplication
// by its scale adds them to the block's. Weights and activations are read once each, and the float
// chain of a block is short beside its some sixty integer instructions.
//
// A type gives (all static):
//   Block: with a half d, and dmin if it has minima
//   kScales: 8 or 16 scales in a block
//   kMins: 0, 8 or 16 minima in a block
//   weights<kSub>(block): sub-block kSub (0-7) of 32 signed weights
//   scales(block), mins(block): eight or sixteen int16; mins if kMins
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

// Of types with eight, the second half is zero.
struct Sixteen {
  int16x8_t first;
  int16x8_t second;
};

template <typename Type, int kSub>
inline int32x4_t add_sub_blocks(const typename Type::Block& w, const ActivationA256& a,
                                const int32x4_t* scales, int32x4_t isum) {
  const Weights32 q = Type::template weights<kSub>(w);
  const int8x16_t x0 = vld1q_s8(a.q + 32 * kSub), x1 = vld1q_s8(a.q + 32 * kSub + 16);
  const int32x4_t zero = vdupq_n_s32(0);
  if constexpr (Type::kScales == 8) {
    const int32x4_t dot = vdotq_s32(vdotq_s32(zero, q.first, x0), q.second, x1);
    isum = vmlaq_laneq_s32(isum, dot, scales[kSub / 4], kSub % 4);
  } else {
    constexpr int kFirst = 2 * kSub % 4;
    isum = vmlaq_laneq_s32(isum, vdotq_s32(zero, q.first, x0), scales[kSub / 2], kFirst);
    isum = vmlaq_laneq_s32(isum, vdotq_s32(zero, q.second, x1), scales[kSub / 2], kFirst + 1);
  }
  if constexpr (kSub == 7)
    return isum;
  else
    return add_sub_blocks<Type, kSub + 1>(w, a, scales, isum);
}

// Eight products of int16 as four sums.
inline int32x4_t add_mins(int32x4_t msum, int16x8_t mins, const int16_t* sums) {
  const int16x8_t x = vld1q_s16(sums);
  return vmlal_high_s16(vmlal_s16(msum, vget_low_s16(mins), vget_low_s16(x)), mins, x);
}

template <typename Type>
inline float row_in_place(const typename Type::Block* w, uint32_t n_blocks,
                          const ActivationA256* a) {
  float acc = 0;
  for (uint32_t b = 0; b < n_blocks; ++b, ++w, ++a) {
    const Sixteen s = Type::scales(*w);
    const int32x4_t scales[4] = {vmovl_s16(vget_low_s16(s.first)), vmovl_high_s16(s.first),
                                 vmovl_s16(vget_low_s16(s.second)), vmovl_high_s16(s.second)};
    const int32x4_t isum = add_sub_blocks<Type, 0>(*w, *a, scales, vdupq_n_s32(0));
    acc = __builtin_fmaf(load_half(w->d) * a->d, static_cast<float>(vaddvq_s32(isum)), acc);
    if constexpr (Type::kMins != 0) {
      const Sixteen mins = Type::mins(*w);
      int32x4_t msum = vdupq_n_s32(0);
      if constexpr (Type::kMins == 8) {
        msum = add_mins(msum, mins.first, a->sum32);
      } else {
        msum = add_mins(msum, mins.first, a->sum16);
        msum = add_mins(msum, mins.second, a->sum16 + 8);
      }
      acc = __builtin_fmaf(-(load_half(w->dmin) * a->d), static_cast<float>(vaddvq_s32(msum)), acc);
    }
  }
  return acc;
}

template <typename Type>
inline void rows_in_place(const void* weights, uint32_t n_cols, RowRange rows,
                          const void* activations, uint64_t activation_stride,
                          uint32_t n_positions, float* out, uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 256;
  for (uint32_t r = rows.begin; r < rows.end; ++r)
    for (uint32_t p = 0; p < n_positions; ++p)
      out[p * out_stride + r] = row_in_place<Type>(
          static_cast<const typename Type::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks,
          n_blocks,
          reinterpret_cast<const ActivationA256*>(static_cast<const uint8_t*>(activations) +
                                                  p * activation_stride));
}

// One block of eight rows.
struct alignas(64) StripK {
  int8_t q[16][128];     // sixteen weights of each row, arranged
  int16_t scale[16][8];  // [sub-block][row]
  int16_t min[16][8];
  float d[8];
  float dmin[8];
};

inline void store_column(Sixteen values, int n, int r, int16_t (*table)[8]) {
  int16_t each[16];
  vst1q_s16(each, values.first);
  vst1q_s16(each + 8, values.second);
  for (int j = 0; j < n; ++j) table[j][r] = each[j];
}

template <typename Type, typename Way, int kSub>
inline void unpack_sub_blocks(const typename Type::Block* rows, uint64_t stride, StripK& strip) {
  int8x16_t first[8], second[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r) {
    const Weights32 q = Type::template weights<kSub>(rows[r * stride]);
    first[r] = q.first;
    second[r] = q.second;
  }
  Way::arrange(first, strip.q[2 * kSub]);
  Way::arrange(second, strip.q[2 * kSub + 1]);
  if constexpr (kSub < 7) unpack_sub_blocks<Type, Way, kSub + 1>(rows, stride, strip);
}

template <typename Type, typename Way>
inline void unpack_strip(const typename Type::Block* rows, uint64_t stride, StripK& strip) {
  for (int r = 0; r < 8; ++r) {
    const typename Type::Block& w = rows[r * stride];
    store_column(Type::scales(w), Type::kScales, r, strip.scale);
    strip.d[r] = load_half(w.d);
    if constexpr (Type::kMins != 0) {
      store_column(Type::mins(w), Type::kMins, r, strip.min);
      strip.dmin[r] = load_half(w.dmin);
    }
  }
  unpack_sub_blocks<Type, Way, 0>(rows, stride, strip);
}

// Minima of sub-blocks kFirst .. 7 times the sums of eight sub-blocks, of rows 0-3 and 4-7.
template <int kFirst>
inline void add_min_rows(const int16_t (*min)[8], int16x8_t sums, int32x4_t msum[2]) {
  const int16x8_t m = vld1q_s16(min[kFirst]);
  msum[0] = vmlal_laneq_s16(msum[0], vget_low_s16(m), sums, kFirst);
  msum[1] = vmlal_high_laneq_s16(msum[1], m, sums, kFirst);
  if constexpr (kFirst < 7) add_min_rows<kFirst + 1>(min, sums, msum);
}

// One block of a strip times kPositions positions; acc: [kPositions][8].
template <typename Type, typename Way, int kPositions>
inline void strip_block(const StripK& w, const uint8_t* activations, uint64_t activation_stride,
                        float (*acc)[8]) {
  constexpr int kRegisters = Way::template kRegisters<kPositions>;
  const ActivationA256* a[kPositions];
  int32x4_t isum[kRegisters];
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i)
    a[i] = reinterpret_cast<const ActivationA256*>(activations +
                                                   static_cast<uint64_t>(i) * activation_stride);
#pragma GCC unroll 16
  for (int i = 0; i < kRegisters; ++i) isum[i] = vdupq_n_s32(0);
  constexpr int kSixteens = 16 / Type::kScales;  // in a sub-block
  for (int j = 0; j < Type::kScales; ++j) {
    int32x4_t dot[kRegisters];
#pragma GCC unroll 16
    for (int i = 0; i < kRegisters; ++i) dot[i] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (int k = kSixteens * j; k < kSixteens * (j + 1); ++k) {
      const int8_t* x[kPositions];
#pragma GCC unroll 8
      for (int i = 0; i < kPositions; ++i) x[i] = a[i]->q + 16 * k;
      Way::template add_products<kPositions>(w.q[k], x, dot);
    }
    const Spread scale = Way::spread(w.scale[j]);
#pragma GCC unroll 16
    for (int i = 0; i < kRegisters; ++i)
      isum[i] = vmlaq_s32(isum[i], dot[i], scale.v[Way::spread_of(i)]);
  }
  int32x4_t rows[kPositions][2];
  Way::template by_rows<kPositions>(isum, rows);
#pragma GCC unroll 8
  for (int i = 0; i < kPositions; ++i) {
    int32x4_t msum[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
    if constexpr (Type::kMins == 8) add_min_rows<0>(w.min, vld1q_s16(a[i]->sum32), msum);
    if constexpr (Type::kMins == 16) {
      add_min_rows<0>(w.min, vld1q_s16(a[i]->sum16), msum);
      add_min_rows<0>(w.min + 8, vld1q_s16(a[i]->sum16 + 8), msum);
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      float32x4_t sum = vld1q_f32(acc[i] + 4 * h);
      const float32x4_t d = vmulq_n_f32(vld1q_f32(w.d + 4 * h), a[i]->d);
      sum = vfmaq_f32(sum, d, vcvtq_f32_s32(rows[i][h]));
      if constexpr (Type::kMins != 0) {
        const float32x4_t dmin = vmulq_n_f32(vld1q_f32(w.dmin + 4 * h), a[i]->d);
        sum = vfmsq_f32(sum, dmin, vcvtq_f32_s32(msum[h]));
      }
      vst1q_f32(acc[i] + 4 * h, sum);
    }
  }
}

// Eight rows times at most kStripPositions positions.
template <typename Type, typename Way>
inline void strip_rows(const typename Type::Block* rows, uint32_t n_blocks,
                       const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                       float* out, uint64_t out_stride) {
  alignas(64) float acc[kStripPositions][8];
  __builtin_memset(acc, 0, n_positions * sizeof acc[0]);
  StripK strip;
  for (uint32_t b = 0; b < n_blocks; ++b) {
    unpack_strip<Type, Way>(rows + b, n_blocks, strip);
    const uint8_t* a = activations + b * sizeof(ActivationA256);
    uint32_t p = 0;
    for (; p + 4 <= n_positions; p += 4)
      strip_block<Type, Way, 4>(strip, a + p * activation_stride, activation_stride, acc + p);
    for (; p < n_positions; ++p)
      strip_block<Type, Way, 1>(strip, a + p * activation_stride, activation_stride, acc + p);
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    __builtin_memcpy(out + p * out_stride, acc[p], sizeof acc[p]);
}

template <typename Type>
inline void matmul_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                     uint64_t activation_stride, uint32_t n_positions, float* out,
                     uint64_t out_stride) {
  matmul_strips<typename Type::Block, 256, Sdot::kStripPositionsMin, strip_rows<Type, Sdot>,
                rows_in_place<Type>>(weights, n_cols, rows, activations, activation_stride,
                                     n_positions, out, out_stride);
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
