// Attention of a tile of queries over all keys they see: chunk by chunk, merged in ascending order (rule E6).
//
// Why tiles: the query heads that share a kv head, of some consecutive positions, are rows of one small matrix product per
// chunk, so K and V are read once for all of them and scores never leave the cache. A row's arithmetic depends on its own
// query and position alone: how rows are put into tiles, and who computes which chunk, cannot change a bit (E11).
// window and sinks are for architectures to come: no model sets them yet, the conformance test holds them.
// A tile is taken whole with attend(); or its chunks by several threads with attend_chunk(), then merge_chunk() for each
// chunk in ascending order and finish().
// Thread-safe: pure but for out, part, state and scratch.   Allocates: never.
#pragma once

#include <cstdint>

#include "native/kernels/kernel_set.h"

namespace hypura::kernels {

// The KV cache of one layer and one kv head, as attention reads it. Page i holds positions 256 i .. 256 i + 255.
struct KvView {
  const void* const* pages;  // page table of the sequence for this layer
  uint64_t k_offset_bytes;   // of this kv head's K inside a page: [256][head_dim_k] of k_type
  uint64_t v_offset_bytes;   // of this kv head's V inside a page: [256][head_dim_v] of v_type
  uint32_t head_dim_k;
  uint32_t head_dim_v;
  KvType k_type = KvType::kF16;
  KvType v_type = KvType::kF16;
};

// Query heads that share a kv head, of consecutive positions. Head g of position j has its query (head_dim_k) at
// q + j * q_position_stride + g * q_head_stride, rope applied, and its result (head_dim_v) at the same place of out.
struct AttentionTile {
  const float* q;
  uint64_t q_position_stride;  // floats, as all strides
  uint64_t q_head_stride;
  float* out;
  uint64_t out_position_stride;
  uint64_t out_head_stride;
  uint32_t n_positions;  // 1 .. attention_tile_positions(n_group)
  uint32_t n_group;
  uint32_t n_keys;  // keys 0 .. n_keys - 1 come before or at the first position; each next position has one more
  uint32_t window = 0;  // a position sees its last `window` keys; 0: all
  const float* sinks = nullptr;  // (n_group) a score per head that takes part in the softmax without a value; may be null
  float scale;
  KvView kv;
};

// Positions of a full tile: 64 rows, where K and V are widened often enough no more to matter.
uint32_t attention_tile_positions(uint32_t n_group);

// What attention of a tile needs, in floats: for a kernel, for one AttentionPart, for attend().
uint64_t attention_scratch_floats(uint32_t n_rows, uint32_t head_dim_k, uint32_t head_dim_v);
uint64_t attention_part_floats(uint32_t n_rows, uint32_t head_dim_v);
uint64_t attention_tile_floats(uint32_t n_rows, uint32_t head_dim_k, uint32_t head_dim_v);
// floats: attention_part_floats of them.
AttentionPart attention_part(float* floats, uint32_t n_rows);

// Chunks of which some position of the tile sees a key.
struct ChunkRange {
  uint32_t begin;
  uint32_t end;
};
ChunkRange chunks_of(const AttentionTile& tile);

// All of it. scratch: attention_tile_floats floats.
void attend(const KernelSet& kernels, const AttentionTile& tile, float* scratch);

// part = what one chunk of chunks_of() gives to the rows whose position sees it; the others are left as they are.
//   scratch: attention_scratch_floats floats
void attend_chunk(const KernelSet& kernels, const AttentionTile& tile, uint32_t chunk,
                  const AttentionPart& part, float* scratch);
// state = state merged with the part of the next chunk; part is used up.
void merge_chunk(const KernelSet& kernels, const AttentionTile& tile, uint32_t chunk,
                 const AttentionPart& part, const AttentionPart& state);
// out = the result, after the last chunk.
void finish(const AttentionTile& tile, const AttentionPart& state);

}  // namespace hypura::kernels
