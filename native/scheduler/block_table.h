// What the scheduler knows of a model: which bytes of which files form a block, and in which order bands are used.
//
// It does not know what a block means. Built once from a checked Load message; immutable afterwards, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/limits.h"

namespace hypura::scheduler {

// Crosses the border as a number: append only.
enum class BlockKind : uint8_t {
  kTrunk = 0,    // small, always in memory
  kBand = 1,     // rows of a 2-D weight: pinned or streamed through the ring
  kRowBand = 2,  // 32 rows of the token embedding: row pool
  kExpert = 3,   // one expert of one layer, 2 to 3 extents: expert pool
};

// Both are records of the Load message.
struct Block {
  uint32_t tensor;        // index into the tensors; 0xffffffff for experts (their tensors name the blocks)
  uint16_t layer;         // 0xffff: none
  uint16_t expert;        // 0 unless kExpert
  BlockKind kind;
  uint8_t n_extents;      // 1 .. kExtentsPerBlockMax
  uint16_t reserved;      // 0
  uint32_t first_extent;
  uint32_t row_begin;     // bands: rows [row_begin, row_begin + row_count) of the tensor
  uint32_t row_count;
};
static_assert(sizeof(Block) == 24);

struct Extent {
  uint32_t file;
  uint32_t type;          // kernels::QuantType of these bytes
  uint64_t offset_bytes;
  uint64_t size_bytes;
};
static_assert(sizeof(Extent) == 24);

class BlockTable {
 public:
  // Bands must be numbered in execution order: ascending ids are the cycle. Bands from `first_head_band` on are needed
  // only in sweeps that want logits. pin_order: every band once, most worth pinning first.
  BlockTable(std::vector<Block> blocks, std::vector<Extent> extents, std::vector<BlockId> pin_order,
             BlockId first_head_band)
      : blocks_(std::move(blocks)),
        extents_(std::move(extents)),
        pin_order_(std::move(pin_order)),
        first_head_band_(first_head_band) {}

  uint32_t size() const { return static_cast<uint32_t>(blocks_.size()); }
  const Block& operator[](BlockId id) const { return blocks_[index_of(id)]; }
  std::span<const Extent> extents(BlockId id) const {
    const Block& block = blocks_[index_of(id)];
    return {extents_.data() + block.first_extent, block.n_extents};
  }
  std::span<const BlockId> pin_order() const { return pin_order_; }
  BlockId first_head_band() const { return first_head_band_; }

 private:
  std::vector<Block> blocks_;
  std::vector<Extent> extents_;
  std::vector<BlockId> pin_order_;
  BlockId first_head_band_;
};

}  // namespace hypura::scheduler
