// How strips of eight rows meet positions, for both frames (k_rows.h, rows_32.h): positions in passes and groups, rows in pairs of
// strips. Same bits whichever way: a row's blocks are added in ascending order.
//
// A frame gives (all static):
//   Block, Activation, Strip
//   kGroupBlocks: blocks per Activation
//   kGroupPositions: positions that are multiplied at once, at most
//   unpack(rows, row_blocks, n, strip): n <= kGroupBlocks blocks of eight rows, row_blocks apart, to a Strip
//   multiply<kStrips, kPositions>(strips, activations, stride, next, acc): kStrips strips times kPositions positions, added to acc:
//     [position][strip]; asks for the positions at `next`
// Internal linkage (avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx2 {
namespace {

constexpr uint32_t kStripRows = 8;
// From here on a strip is faster than rows in place.
constexpr uint32_t kStripPositionsMin = 4;
// Positions of one pass over all rows: their activations stay in L2 meanwhile, of which the processors this is for have 256 KiB to
// 2 MiB, but rows are unpacked anew in each pass. A multiple of every kGroupPositions.
constexpr uint32_t kPassPositionsMin = 48, kPassPositionsMax = 240;
constexpr uint64_t kPassBytes = uint64_t{256} << 10;

inline uint32_t pass_positions(uint64_t stride) {
  const uint64_t near = kPassBytes / stride / 12 * 12;
  if (near < kPassPositionsMin) return kPassPositionsMin;
  return near < kPassPositionsMax ? static_cast<uint32_t>(near) : kPassPositionsMax;
}

// Positions of the next group when `left` are left, of 6, 4, 2 or 1. Fours rather than a last two.
inline uint32_t group_of(uint32_t left, uint32_t most) {
  if (left >= most && left != 8) return most;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// All lines of kBytes. Memory past the last row may not exist, which a prefetch ignores.
template <uint32_t kBytes>
__attribute__((always_inline)) inline void ask_for(const void* bytes) {
#pragma GCC unroll 8
  for (uint32_t i = 0; i < kBytes + 63; i += 64)
    _mm_prefetch(static_cast<const char*>(bytes) + i, _MM_HINT_T0);
}

template <typename Frame, int kStrips>
inline void strip_rows(const typename Frame::Block* rows, uint32_t n_blocks, const uint8_t* activations, uint64_t stride,
                       uint32_t n_positions, float* out, uint64_t out_stride) {
  using Block = typename Frame::Block;
  constexpr uint32_t kRows = kStrips * kStripRows;
  alignas(32) float acc[kPassPositionsMax * kStrips][8];
  for (uint32_t i = 0; i < n_positions * kStrips; ++i) _mm256_store_ps(acc[i], _mm256_setzero_ps());
  typename Frame::Strip strips[kStrips];
  for (uint32_t b = 0; b < n_blocks; b += Frame::kGroupBlocks) {
    const uint32_t n_present = n_blocks - b < Frame::kGroupBlocks ? n_blocks - b : Frame::kGroupBlocks;
    for (uint32_t t = 0; t < kStrips; ++t)
      Frame::unpack(rows + b + static_cast<uint64_t>(t * kStripRows) * n_blocks, n_blocks, n_present, strips[t]);
    const uint8_t* a = activations + b / Frame::kGroupBlocks * sizeof(typename Frame::Activation);
    // The next block of a row per group of positions: addresses a row apart, which the hardware does not follow.
    const Block* ahead = rows + b + Frame::kGroupBlocks;
    uint32_t n_ahead = 0;
    for (uint32_t p = 0; p < n_positions;) {
      for (uint32_t i = 0; i < 2 && n_ahead < kRows; ++i, ++n_ahead, ahead += n_blocks)
        ask_for<Frame::kGroupBlocks * sizeof(Block)>(ahead);
      const uint32_t n = group_of(n_positions - p, Frame::kGroupPositions);
      const uint8_t* here = a + p * stride;
      const uint8_t* next = p + n < n_positions ? here + n * stride : a + sizeof(typename Frame::Activation);
      float (*at)[8] = acc + p * kStrips;
      if (n == Frame::kGroupPositions)
        Frame::template multiply<kStrips, Frame::kGroupPositions>(strips, here, stride, next, at);
      else if (n == 4)
        Frame::template multiply<kStrips, 4>(strips, here, stride, next, at);
      else if (n == 2)
        Frame::template multiply<kStrips, 2>(strips, here, stride, next, at);
      else
        Frame::template multiply<kStrips, 1>(strips, here, stride, next, at);
      p += n;
    }
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    for (uint32_t t = 0; t < kStrips; ++t)
      _mm256_storeu_ps(out + p * out_stride + t * kStripRows, _mm256_load_ps(acc[p * kStrips + t]));
}

// All rows that fill strips, where positions are many enough for strips. The first row that is left.
template <typename Frame>
inline uint32_t matmul_strips(const void* weights, uint32_t n_blocks, RowRange rows, const uint8_t* activations,
                              uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  if (n_positions < kStripPositionsMin) return rows.begin;
  const uint32_t pass = pass_positions(stride);
  uint32_t r = rows.begin;
  for (uint32_t p = 0; p < n_positions; p += pass) {
    const uint32_t n = n_positions - p < pass ? n_positions - p : pass;
    const auto multiply = [&]<int kStrips>() {
      strip_rows<Frame, kStrips>(static_cast<const typename Frame::Block*>(weights) + static_cast<uint64_t>(r) * n_blocks,
                                 n_blocks, activations + p * stride, stride, n, out + p * out_stride + r, out_stride);
    };
    for (r = rows.begin; r + 2 * kStripRows <= rows.end; r += 2 * kStripRows) multiply.template operator()<2>();
    for (; r + kStripRows <= rows.end; r += kStripRows) multiply.template operator()<1>();
  }
  return r;
}

}  // namespace
}  // namespace hypura::kernels::avx2
