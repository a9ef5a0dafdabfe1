// What the frames (k_rows.h, rows_32.h) have in common: a matrix is cut into pairs of strips, single
// strips and fours of rows, a pass over a strip into groups of positions. Same bits whichever way.
//
// A frame gives (all static):
//   Block, Activation, Strip
//   kGroup: blocks per Activation
//   kStripPositionsMin: positions from which on a strip is faster than rows in place
//   rows_in_place<kOrder>(row, n_blocks, a, ahead): rows row[0..3], not necessarily different ones, times one
//     position; what is `ahead` bytes after them is asked for meanwhile
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

// The rows of a matrix.
template <typename Block>
struct Rows {
  const Block* first;
  uint32_t n_blocks;  // of a row

  const Block* at(uint32_t r) const { return first + static_cast<uint64_t>(r) * n_blocks; }
  uint64_t bytes() const { return n_blocks * sizeof(Block); }
};

// Rows begin .. begin + 4 n_quarter - 1, one of each quarter at a time.
template <typename Frame>
inline void quarters_in_place(const Rows<typename Frame::Block>& rows, uint32_t begin, uint32_t n_quarter,
                              const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                              float* out, uint64_t out_stride) {
  // 1,024 does the same; 512 and 4,096 were a little slower for most types.
  constexpr uint64_t kAheadBytes = 2048;
  for (uint32_t r = begin; r < begin + n_quarter; ++r) {
    const typename Frame::Block* const row[4] = {rows.at(r), rows.at(r + n_quarter), rows.at(r + 2 * n_quarter),
                                                 rows.at(r + 3 * n_quarter)};
    for (uint32_t p = 0; p < n_positions; ++p) {
      const auto* x = reinterpret_cast<const typename Frame::Activation*>(activations + p * activation_stride);
      alignas(16) float sum[4];
      _mm_store_ps(sum, Frame::template rows_in_place<RowOrder::kQuarters>(row, rows.n_blocks, x, kAheadBytes));
#pragma GCC unroll 4
      for (uint32_t i = 0; i < 4; ++i) out[p * out_stride + r + i * n_quarter] = sum[i];
    }
  }
}

// Rows begin .. end - 1, four neighbours at a time.
template <typename Frame>
inline void neighbours_in_place(const Rows<typename Frame::Block>& rows, RowRange range,
                                const uint8_t* activations, uint64_t activation_stride, uint32_t n_positions,
                                float* out, uint64_t out_stride) {
  for (uint32_t r = range.begin; r < range.end; r += 4) {
    const uint32_t n = range.end - r < 4 ? range.end - r : 4;
    const typename Frame::Block* row[4];  // the last row again where there are fewer than four
    for (uint32_t i = 0; i < 4; ++i) row[i] = rows.at(r + (i < n ? i : n - 1));
    // Also beyond these rows: a thread's next piece mostly follows.
    const uint64_t ahead = 4 * rows.bytes();
    for (uint32_t p = 0; p < n_positions; ++p) {
      const auto* x = reinterpret_cast<const typename Frame::Activation*>(activations + p * activation_stride);
      _mm_mask_storeu_ps(out + p * out_stride + r, static_cast<__mmask8>((1u << n) - 1),
                         Frame::template rows_in_place<RowOrder::kNeighbours>(row, rows.n_blocks, x, ahead));
    }
  }
}

template <typename Frame, RowOrder kOrder>
inline void matmul(const void* weights, uint32_t n_blocks, RowRange rows, const void* activations,
                   uint64_t activation_stride, uint32_t n_positions, float* out,
                   uint64_t out_stride) {
  const Rows<typename Frame::Block> matrix{static_cast<const typename Frame::Block*>(weights), n_blocks};
  const uint8_t* a = static_cast<const uint8_t*>(activations);
  uint32_t end = rows.begin;
  if (n_positions >= Frame::kStripPositionsMin) {
    for (uint32_t p = 0; p < n_positions; p += kStripPositions) {
      const uint32_t n = n_positions - p < kStripPositions ? n_positions - p : kStripPositions;
      const uint8_t* at = a + p * activation_stride;
      uint32_t r = rows.begin;
      for (; r + 2 * kStripRows <= rows.end; r += 2 * kStripRows)
        strip_rows<Frame, 2>(matrix.at(r), n_blocks, at, activation_stride, n,
                             out + p * out_stride + r, out_stride);
      for (; r + kStripRows <= rows.end; r += kStripRows)
        strip_rows<Frame, 1>(matrix.at(r), n_blocks, at, activation_stride, n,
                             out + p * out_stride + r, out_stride);
      end = r;
    }
  }
  if constexpr (kOrder == RowOrder::kQuarters) {
    const uint32_t n_quarter = (rows.end - end) / 4;
    quarters_in_place<Frame>(matrix, end, n_quarter, a, activation_stride, n_positions, out, out_stride);
    end += 4 * n_quarter;
  }
  neighbours_in_place<Frame>(matrix, {end, rows.end}, a, activation_stride, n_positions, out, out_stride);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
