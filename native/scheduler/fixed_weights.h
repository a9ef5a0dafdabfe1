// Weights at addresses that never change: a whole file mapped, or copied into memory once. No reads, no waits, no eviction.
//
// What stands behind BlockCache in the modes that have no cache: 'mmap', the baseline in which the kernel decides what is in
// memory, and 'bare', the yardstick of what the cache costs when everything is.
// Thread: token loop only; the counters are read by any thread.   Allocates: in the constructor, never later.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/limits.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/block_table.h"

namespace hypura::scheduler {

class FixedWeights {
 public:
  // files: where byte 0 of each file lies, in FileId order; the bytes stay there. table outlives this.
  FixedWeights(const BlockTable& table, std::vector<const std::byte*> files);

  bool is(BlockId block, BlockKind kind) const {
    return index_of(block) < table_.size() && table_[block].kind == kind;
  }
  const std::byte* extent(BlockId block, uint32_t i) const {
    const Extent& extent = table_.extents(block)[i];
    return files_[extent.file] + extent.offset_bytes;
  }
  uint32_t extent_count(BlockId block) const { return table_[block].n_extents; }
  // Fills views with bands first, first + 1, ...; returns how many: it ends where a block is no band.
  uint32_t run(BlockId first, std::span<BandView> views);

  // Blocks of one kind; the request before it, of that kind, is forgotten.
  void request(std::span<const BlockId> blocks);
  // In the order of the request; empty when all were handed out.
  std::optional<BlockId> next(BlockKind kind);
  // What next() would hand out.
  std::optional<BlockId> another(BlockKind kind);

  CacheCounters counters;  // hits and their bytes; nothing else ever happens

 private:
  // Of one kind. The list has room for every block of the table.
  struct Request {
    std::vector<BlockId> blocks;
    size_t next = 0;
  };
  Request& request_of(BlockKind kind) { return requests_[kind == BlockKind::kExpert ? 1 : 0]; }
  void used(BlockId block);

  const BlockTable& table_;
  const std::vector<const std::byte*> files_;
  std::array<Request, 2> requests_;  // row bands, experts
};

}  // namespace hypura::scheduler
