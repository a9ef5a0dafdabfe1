// What the frames (k_tiles.h, tiles_32.h) have in common: rows in pairs of strips, positions in passes and groups, columns in chunks.
// Same bits whichever way: a row's blocks are added in ascending order.
//
// A frame gives (all static):
//   Block, Activation, Strip
//   kBlockWeights; kGroupBlocks: blocks per Activation
//   kGroupPositions: positions of a group, at most
//   unpack(rows, row_bytes, n, strip): n <= kGroupBlocks blocks of sixteen rows to a Strip
//   configure(n): tiles for groups of n positions
//   multiply_group(strips, group, stride): two strips times a group, added to its accumulators; asks for the next group's activations
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
constexpr uint32_t kPairRows = kStrips * kTileRows;
// Positions of one pass over the rows, at most. The more, the less unpacking costs.
constexpr uint32_t kPassPositions = 512;
// Activations per position of one chunk: 655 KB of a full pass, which stay in L2 while the pairs of a row block meet them.
constexpr uint32_t kChunkActivations = 4;
// Pairs of strips of one row block. Their accumulators are 256 KiB of stack, for which the threads that compute have room
// (native/base/thread.h).
constexpr uint32_t kBlockPairs = 4;

inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

// Positions that tiles multiply at once, in one Activation of each.
struct Group {
  const uint8_t* activations;
  const uint8_t* next;  // of the group that follows
  float* acc;           // [position][strip][row]
  uint32_t n;

  // One line of position i of the next group. The hardware follows no stride of kilobytes, and a whole group's lines at once are more
  // than a core can wait for: a frame asks line by line, between its float instructions.
  __attribute__((always_inline)) void ask_for_next(uint32_t i, uint64_t stride, uint32_t line) const {
    _mm_prefetch(reinterpret_cast<const char*>(next + i * stride + 64 * line), _MM_HINT_T0);
  }
};

// Where a product's results go. More than caches hold are written past them: a line that is written whole need not be read from
// memory first, and nobody reads it before all rows are done. (Strips of AVX-512 gained nothing by it.)
class Results {
 public:
  Results(float* out, uint64_t stride, uint32_t n_positions)
      : Results(out, stride, n_positions * stride * sizeof(float) >= kStreamBytes) {}

  Results from(uint32_t position, uint32_t row) const { return {out_ + position * stride_ + row, stride_, stream_}; }

  // Sixteen rows from `row` on.
  void store(uint32_t position, uint32_t row, __m512 values) const {
    float* at = out_ + position * stride_ + row;
    if (stream_ && reinterpret_cast<uintptr_t>(at) % 64 == 0)
      _mm512_stream_ps(at, values);
    else
      _mm512_storeu_ps(at, values);
  }

  // Before whatever tells another thread that they are there: streamed lines keep no order.
  void finish() const {
    if (stream_) _mm_sfence();
  }

 private:
  static constexpr uint64_t kStreamBytes = uint64_t{1} << 20;

  Results(float* out, uint64_t stride, bool stream) : out_(out), stride_(stride), stream_(stream) {}

  float* out_;
  uint64_t stride_;
  bool stream_;
};

// At most kBlockPairs pairs of strips times at most kPassPositions positions.
template <typename Frame>
class RowBlock {
 public:
  RowBlock(const uint8_t* rows, uint64_t row_bytes, uint32_t n_pairs, uint32_t n_blocks, const uint8_t* activations,
           uint64_t stride, uint32_t n_positions)
      : rows_(rows), row_bytes_(row_bytes), n_pairs_(n_pairs), n_blocks_(n_blocks), activations_(activations),
        stride_(stride), n_positions_(n_positions) {}

  void multiply(const Results& results) {
    const Groups groups(n_positions_, Frame::kGroupPositions);
    for (uint32_t pair = 0; pair < n_pairs_; ++pair)
      for (uint32_t i = 0; i < n_positions_ * kPairRows; i += 16) _mm512_store_ps(acc_[pair] + i, _mm512_setzero_ps());
    uint32_t configured = 0;
    for (uint32_t b = 0; b < n_blocks_; b += kChunkBlocks)
      multiply_chunk(b, least(n_blocks_, b + kChunkBlocks), groups, configured);
    for (uint32_t p = 0; p < n_positions_; ++p)
      for (uint32_t pair = 0; pair < n_pairs_; ++pair)
        for (uint32_t t = 0; t < kStrips; ++t)
          results.store(p, pair * kPairRows + t * kTileRows, _mm512_load_ps(acc_[pair] + p * kPairRows + t * kTileRows));
  }

 private:
  using Block = typename Frame::Block;
  using Activation = typename Frame::Activation;
  static constexpr uint32_t kGroupBytes = Frame::kGroupBlocks * sizeof(Block);
  static constexpr uint32_t kChunkBlocks = kChunkActivations * Frame::kGroupBlocks;

  const uint8_t* weights(uint32_t pair, uint32_t block) const {
    return rows_ + pair * kPairRows * row_bytes_ + block * sizeof(Block);
  }
  const uint8_t* positions(uint32_t block) const { return activations_ + block / Frame::kGroupBlocks * sizeof(Activation); }

  // Blocks `begin` to `end` of all pairs. configured: positions that the tiles are configured for.
  void multiply_chunk(uint32_t begin, uint32_t end, const Groups& groups, uint32_t& configured) {
    for (uint32_t pair = 0; pair < n_pairs_; ++pair)
      for (uint32_t b = begin; b < end; b += Frame::kGroupBlocks) {
        // What comes next: this pair's next block, the next pair's first one, the next chunk.
        uint32_t next_pair = pair, next_block = b + Frame::kGroupBlocks;
        if (next_block >= end) {
          next_pair = pair + 1 < n_pairs_ ? pair + 1 : 0;
          next_block = next_pair == 0 ? end : begin;
        }
        multiply_blocks(pair, b, weights(next_pair, next_block), positions(next_block), groups, configured);
      }
  }

  void multiply_blocks(uint32_t pair, uint32_t b, const uint8_t* next_weights, const uint8_t* next_positions,
                       const Groups& groups, uint32_t& configured) {
    typename Frame::Strip strips[kStrips];
    const uint8_t* w = weights(pair, b);
    for (uint32_t t = 0; t < kStrips; ++t)
      Frame::unpack(w + t * kTileRows * row_bytes_, row_bytes_, least(n_blocks_ - b, Frame::kGroupBlocks), strips[t]);
    avx512vnni::RowsAhead<kGroupBytes, kPairRows> ahead(next_weights, row_bytes_, groups.n);
    Group group{positions(b), nullptr, acc_[pair], 0};
    for (uint32_t g = 0; g < groups.n; ++g) {
      ahead.ask_for_share();
      group.n = groups.size_of(g);
      group.next = g + 1 < groups.n ? group.activations + group.n * stride_ : next_positions;
      if (group.n != configured) Frame::configure(configured = group.n);
      Frame::multiply_group(strips, group, stride_);
      group.activations = group.next;
      group.acc += group.n * kPairRows;
    }
  }

  const uint8_t* rows_;
  uint64_t row_bytes_;
  uint32_t n_pairs_;
  uint32_t n_blocks_;
  const uint8_t* activations_;
  uint64_t stride_;
  uint32_t n_positions_;
  alignas(64) float acc_[kBlockPairs][kPassPositions * kPairRows];  // [pair][position][strip][row]
};

// Pairs of strips by tiles where they pay, what remains by kRest.
template <typename Frame, uint32_t kPositionsMin, auto* kRest>
inline void matmul_tiles(const void* weights, uint32_t n_cols, RowRange rows, const void* activations, uint64_t stride,
                         uint32_t n_positions, float* out, uint64_t out_stride) {
  if (n_positions >= kPositionsMin && rows.end - rows.begin >= kPairRows) {
    const uint32_t n_blocks = n_cols / Frame::kBlockWeights;
    const uint64_t row_bytes = n_blocks * sizeof(typename Frame::Block);
    const uint32_t end = rows.begin + (rows.end - rows.begin) / kPairRows * kPairRows;
    const Results results(out, out_stride, n_positions);
    for (uint32_t p = 0; p < n_positions; p += kPassPositions)
      for (uint32_t r = rows.begin; r < end; r += kBlockPairs * kPairRows) {
        RowBlock<Frame> block(static_cast<const uint8_t*>(weights) + r * row_bytes, row_bytes,
                              least(kBlockPairs, (end - r) / kPairRows), n_blocks,
                              static_cast<const uint8_t*>(activations) + p * stride, stride,
                              least(kPassPositions, n_positions - p));
        block.multiply(results.from(p, r));
      }
    results.finish();
    release_tiles();
    rows.begin = end;
  }
  if (rows.begin < rows.end) kRest(weights, n_cols, rows, activations, stride, n_positions, out, out_stride);
}

}  // namespace
}  // namespace hypura::kernels::amx_int8
