// What the frames (k_tiles.h, tiles_32.h) have in common: rows in pairs of strips, positions in passes and groups. Same bits
// whichever way.
//
// A frame gives (all static):
//   Block, Activation, Strip
//   kBlockWeights; kGroupBlocks: blocks per Activation
//   kGroupPositions: positions of a group, at most
//   pass_positions(stride): positions of a pass, at most kPassPositions
//   unpack(rows, row_bytes, n, strip): n <= kGroupBlocks blocks of sixteen rows to a Strip
//   configure(n): tiles for groups of n positions
//   multiply_group(strips, group, stride): two strips times a group, added to its accumulators
// Internal linkage (amx_int8.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "native/kernels/amx_int8/tiles.h"
#include "native/kernels/avx512vnni/strip.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::amx_int8 {
namespace {

constexpr uint32_t kStrips = 2;
// Positions of one pass over the rows, at most. The more, the less unpacking costs.
constexpr uint32_t kPassPositions = 256;

// Activations of a pass that are more than this do not stay in L2 until the next strips come. The hardware does not follow a stride
// of kilobytes: the next block's are asked for then, a whole block ahead.
constexpr uint64_t kNearBytes = uint64_t{1} << 20;

template <typename Activation>
inline void ask_for_next_block(const uint8_t* activations, uint64_t stride, uint32_t n_positions) {
  for (uint32_t i = 0; i < n_positions; ++i)
#pragma GCC unroll 5
    for (uint32_t at = 0; at < sizeof(Activation); at += 64)
      _mm_prefetch(reinterpret_cast<const char*>(activations + i * stride + sizeof(Activation) + at), _MM_HINT_T1);
}

// Positions that tiles multiply at once, in one Activation of each.
struct Group {
  const uint8_t* activations;
  float* acc;  // [position][strip][row]
  uint32_t n;
};

// 32 rows times at most kPassPositions positions.
template <typename Frame>
inline void rows_of_two_strips(const uint8_t* rows, uint64_t row_bytes, uint32_t n_blocks, const uint8_t* activations,
                               uint64_t stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  using Activation = typename Frame::Activation;
  constexpr uint32_t kGroupBytes = Frame::kGroupBlocks * sizeof(typename Frame::Block);
  alignas(64) float acc[kPassPositions * kStrips * 16];
  for (uint32_t i = 0; i < n_positions * kStrips * 16; i += 16) _mm512_store_ps(acc + i, _mm512_setzero_ps());
  typename Frame::Strip strips[kStrips];
  const Groups groups(n_positions, Frame::kGroupPositions);
  uint32_t configured = 0;
  for (uint32_t b = 0; b < n_blocks; b += Frame::kGroupBlocks) {
    const uint8_t* w = rows + b * sizeof(typename Frame::Block);
    const uint32_t n_present = n_blocks - b < Frame::kGroupBlocks ? n_blocks - b : Frame::kGroupBlocks;
    for (uint32_t t = 0; t < kStrips; ++t)
      Frame::unpack(w + t * kTileRows * row_bytes, row_bytes, n_present, strips[t]);
    avx512vnni::RowsAhead<kGroupBytes, kStrips * kTileRows> ahead(w + kGroupBytes, row_bytes, groups.n);
    const bool far = n_positions * stride > kNearBytes && b + Frame::kGroupBlocks < n_blocks;
    Group group{activations + b / Frame::kGroupBlocks * sizeof(Activation), acc, 0};
    for (uint32_t g = 0; g < groups.n; ++g) {
      ahead.ask_for_share();
      group.n = groups.size_of(g);
      if (group.n != configured) Frame::configure(configured = group.n);
      if (far) ask_for_next_block<Activation>(group.activations, stride, group.n);
      Frame::multiply_group(strips, group, stride);
      group.activations += group.n * stride;
      group.acc += group.n * kStrips * 16;
    }
  }
  for (uint32_t p = 0; p < n_positions; ++p)
    for (uint32_t t = 0; t < kStrips; ++t)
      _mm512_storeu_ps(out + p * out_stride + t * kTileRows, _mm512_load_ps(acc + (p * kStrips + t) * 16));
}

// Pairs of strips by tiles where they pay, what remains by kRest.
template <typename Frame, uint32_t kPositionsMin, auto* kRest>
inline void matmul_tiles(const void* weights, uint32_t n_cols, RowRange rows, const void* activations, uint64_t stride,
                         uint32_t n_positions, float* out, uint64_t out_stride) {
  constexpr uint32_t kRows = kStrips * kTileRows;
  if (n_positions >= kPositionsMin && rows.end - rows.begin >= kRows) {
    const uint32_t n_blocks = n_cols / Frame::kBlockWeights, pass = Frame::pass_positions(stride);
    const uint64_t row_bytes = n_blocks * sizeof(typename Frame::Block);
    const uint32_t end = rows.begin + (rows.end - rows.begin) / kRows * kRows;
    for (uint32_t p = 0; p < n_positions; p += pass) {
      const uint32_t n = n_positions - p < pass ? n_positions - p : pass;
      for (uint32_t r = rows.begin; r < end; r += kRows)
        rows_of_two_strips<Frame>(static_cast<const uint8_t*>(weights) + r * row_bytes, row_bytes, n_blocks,
                                  static_cast<const uint8_t*>(activations) + p * stride, stride, n,
                                  out + p * out_stride + r, out_stride);
    }
    release_tiles();
    rows.begin = end;
  }
  if (rows.begin < rows.end) kRest(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace
}  // namespace hypura::kernels::amx_int8
