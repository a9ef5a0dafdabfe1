// What the frames (k_rows.h, rows_32.h) have in common: a matrix is cut into pairs of strips, single
// strips and fours of rows, a pass over a strip into groups of positions. Same bits whichever way.
//
// A frame gives (all static):
//   Block, Activation, Strip
//   kGroup: blocks per Activation
//   kStripPositionsMin: positions from which on a strip is faster than rows in place
//   rows_in_place(row, n_blocks, a, ahead): rows row[0..3], not necessarily different ones, times one
//     position; the rows `ahead` blocks after them are asked for meanwhile
//   unpack(rows, row_bytes, n, strip): n <= kGroup blocks of sixteen rows to a Strip
//   strip_group<kStrips, kPositions>(strips, activations, stride, next, acc): one group of kStrips
//     strips times kPositions positions; acc: [kPositions][kStrips][16]; `next` holds the activations
//     of the group after this one, asked for meanwhile
// Internal linkage (avx512vnni.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/avx512vnni/strip.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx512vnni {
namespace {

// 16 kStrips rows times at most kStripPositions positions.
template <typename Frame, int kStrips>
inline void strip_rows(const typename Frame::Block* rows, uint32_t n_blocks,
                       const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                       float* out, uint64_t out_stride) {
  constexpr uint32_t kGroupBytes = Frame::kGroup * sizeof(typename Frame::Block);
  alignas(64) float acc[kStripPositions * kStrips * 16];
  for (uint32_t i = 0; i < n_positions * kStrips * 16; i += 16)
    _mm512_store_ps(acc + i, _mm512_setzero_ps());
  const uint64_t row_bytes = n_blocks * sizeof(typename Frame::Block);
  typename Frame::Strip strips[kStrips];
  const uint8_t* a = activations;
  for (uint32_t b = 0; b < n_blocks; b += Frame::kGroup) {
    const uint8_t* w = reinterpret_cast<const uint8_t*>(rows + b);
    const uint32_t n_present = n_blocks - b < Frame::kGroup ? n_blocks - b : Frame::kGroup;
    for (int t = 0; t < kStrips; ++t)
      Frame::unpack(w + t * kStripRows * row_bytes, row_bytes, n_present, strips[t]);
    RowsAhead<kGroupBytes, kStrips * kStripRows> ahead(w + kGroupBytes, row_bytes,
                                                          (n_positions + kGroupPositions - 1) / kGroupPositions);
    const uint8_t* next_block = a + sizeof(typename Frame::Activation);
    for (uint32_t p = 0; p < n_positions;) {
      ahead.ask_for_share();
      const uint32_t n = group_of(n_positions - p);
      const uint8_t* here = a + p * activation_stride;
      const uint8_t* next = p + n < n_positions ? here + n * activation_stride : next_block;
      float* at = acc + p * kStrips * 16;
      if (n == 6)
        Frame::template strip_group<kStrips, 6>(strips, here, activation_stride, next, at);
      else if (n == 4)
        Frame::template strip_group<kStrips, 4>(strips, here, activation_stride, next, at);
      else if (n == 2)
        Frame::template strip_group<kStrips, 2>(strips, here, activation_stride, next, at);
      else
        Frame::template strip_group<kStrips, 1>(strips, here, activation_stride, next, at);
      p += n;
    }
    a = next_block;
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    for (int t = 0; t < kStrips; ++t)
      _mm512_storeu_ps(out + p * out_stride + t * kStripRows,
                       _mm512_load_ps(acc + (p * kStrips + t) * 16));
}

template <typename Frame>
inline void matmul(const void* weights, uint32_t n_blocks, RowRange rows, const void* activations,
                   uint64_t activation_stride, uint32_t n_positions, float* out,
                   uint64_t out_stride) {
  using Block = typename Frame::Block;
  const auto row_at = [&](uint32_t r) {
    return static_cast<const Block*>(weights) + static_cast<uint64_t>(r) * n_blocks;
  };
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t end = rows.begin;
  if (n_positions >= Frame::kStripPositionsMin) {
    for (uint32_t p = 0; p < n_positions; p += kStripPositions) {
      const uint32_t n = n_positions - p < kStripPositions ? n_positions - p : kStripPositions;
      const uint8_t* at = a + p * activation_stride;
      uint32_t r = rows.begin;
      for (; r + 2 * kStripRows <= rows.end; r += 2 * kStripRows)
        strip_rows<Frame, 2>(row_at(r), n_blocks, at, activation_stride, n,
                             out + p * out_stride + r, out_stride);
      for (; r + kStripRows <= rows.end; r += kStripRows)
        strip_rows<Frame, 1>(row_at(r), n_blocks, at, activation_stride, n,
                             out + p * out_stride + r, out_stride);
      end = r;
    }
  }
  for (uint32_t r = end; r < rows.end; r += 4) {
    const uint32_t n = rows.end - r < 4 ? rows.end - r : 4;
    const Block* row[4];  // the last row again where there are fewer than four
    for (uint32_t i = 0; i < 4; ++i) row[i] = row_at(r + (i < n ? i : n - 1));
    // Also beyond these rows: a thread's next piece mostly follows.
    const uint64_t ahead = 4 * static_cast<uint64_t>(n_blocks);
    for (uint32_t p = 0; p < n_positions; ++p) {
      const auto* x =
          reinterpret_cast<const typename Frame::Activation*>(a + p * activation_stride);
      _mm_mask_storeu_ps(out + p * out_stride + r, static_cast<__mmask8>((1u << n) - 1),
                         Frame::rows_in_place(row, n_blocks, x, ahead));
    }
  }
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
