// Hull arithmetic: an extent widened to what direct I/O may read, and cut into reads.
//
// Direct reads want offset, length and memory on multiples of the file's alignment. The hull begins at or before the
// extent and ends at or after it, possibly past the end of the file, where a read comes back short and counts if the
// extent is covered. The hull lands in the slot as it is, and the weights begin `lead_bytes` in: no copy.
//   extent at 10,016, 884,736 bytes, alignment 4096: hull 8,192..897,024, lead 1,824, 217 pages
// Pure functions on plain numbers; thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/scheduler/block_table.h"

namespace hypura::scheduler {

struct Hull {
  uint32_t file = 0;
  uint32_t lead_bytes = 0;    // from the hull's begin to the extent's
  uint64_t offset_bytes = 0;  // in the file, aligned
  uint64_t bytes = 0;         // aligned
  uint64_t need_bytes = 0;    // from the hull's begin to the extent's end: what must come back
};

// alignment_bytes: a power of two, at most kDirectAlignmentBytes. The extent lies inside its file.
constexpr Hull hull_of(const Extent& extent, uint32_t alignment_bytes) {
  Hull hull;
  hull.file = extent.file;
  hull.offset_bytes = align_down(extent.offset_bytes, alignment_bytes);
  hull.lead_bytes = static_cast<uint32_t>(extent.offset_bytes - hull.offset_bytes);
  hull.need_bytes = hull.lead_bytes + extent.size_bytes;
  hull.bytes = align_up(hull.need_bytes, alignment_bytes);
  return hull;
}

// Memory a hull takes in a slot: hulls of one slot all begin on kDirectAlignmentBytes, whatever their files ask.
constexpr uint64_t placed_bytes(const Hull& hull) {
  return align_up(hull.bytes, kDirectAlignmentBytes);
}

// One read of a hull, of which the first need_bytes must come back.
struct Piece {
  uint32_t bytes = 0;
  uint32_t need_bytes = 0;
};
static_assert(kReadBytesMax % kDirectAlignmentBytes == 0 &&
                  kStripeBytesMax % kDirectAlignmentBytes == 0,
              "every piece but the last is aligned");

// The piece that begins `begin_bytes` into the hull; begin_bytes < hull.bytes, a multiple of bytes_max.
constexpr Piece piece_at(const Hull& hull, uint64_t begin_bytes,
                         uint32_t bytes_max = kReadBytesMax) {
  Piece piece;
  piece.bytes = static_cast<uint32_t>(std::min<uint64_t>(hull.bytes - begin_bytes, bytes_max));
  piece.need_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(hull.need_bytes - begin_bytes, piece.bytes));
  return piece;
}

// The hulls of a table's blocks over files of known alignment: the largest that any copy of the file asks for, since it is
// a multiple of the others. Immutable after create.
class BlockHulls {
 public:
  BlockHulls(const BlockTable& table, std::vector<uint32_t> file_alignment_bytes)
      : table_(table), file_alignment_bytes_(std::move(file_alignment_bytes)) {}

  const BlockTable& table() const { return table_; }
  uint32_t extent_count(BlockId block) const { return table_[block].n_extents; }
  uint32_t alignment_bytes(uint32_t file) const { return file_alignment_bytes_[file]; }
  Hull hull(BlockId block, uint32_t extent) const {
    const Extent& at = table_.extents(block)[extent];
    return hull_of(at, file_alignment_bytes_[at.file]);
  }
  // Bytes that reading the whole block asks for.
  uint64_t hull_bytes(BlockId block) const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < extent_count(block); ++i) sum += hull(block, i).bytes;
    return sum;
  }
  // Bytes the block takes in a slot: its hulls one behind the other, in the order of its extents.
  uint64_t slot_bytes(BlockId block) const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < extent_count(block); ++i) sum += placed_bytes(hull(block, i));
    return sum;
  }

 private:
  const BlockTable& table_;
  const std::vector<uint32_t> file_alignment_bytes_;
};

}  // namespace hypura::scheduler
