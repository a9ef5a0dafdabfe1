// All memory the engine places, in one mapping: allocated once, touched at load; later only a resize gives pages back and
// fetches them again (arena_hole.h).
//
// Why one: direct reads ran at 3.0-4.1 GB/s into 2 MiB pages and at 1.1-1.3 into 4 KiB ones, whatever the queue depth, and
// the first touch of a fresh page costs 3-8 us. So the mapping is 2 MiB aligned, asked for huge pages (MADV_HUGEPAGE),
// kept from children (MADV_DONTFORK) and touched before the first read.
// Not locked (mlock): ordinary users may lock 8 MiB, and the budget keeps the system from paging anyway.
// Thread: carve() by one thread during load; afterwards immutable.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/status.h"

namespace hypura::nvme_io {

class Arena {
 public:
  // bytes is rounded up to a whole number of 4 KiB pages; the mapping begins on a 2 MiB boundary and ends where the arena
  // does, because a huge page that reached further would take memory that no budget knows of.
  // Error: kInsufficientMemory with the size.
  static Result<Arena> create(uint64_t bytes);
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  ~Arena();

  // The next `bytes` bytes at a multiple of `alignment_bytes` (a power of two, at most 2 MiB). Error: kInternal when the
  // arena is too small, because sizes were summed before it was made.
  Result<std::span<std::byte>> carve(uint64_t bytes, uint64_t alignment_bytes);

  // Writes a zero to every page of the arena, so that none is faulted in later; call it before anything is stored.
  // Stops early when `cancelled` becomes true. Error: kCancelled. Pages that the host must hand out first cost 2 s per
  // GiB, and a second thread did not help.
  Status touch(const std::atomic<bool>& cancelled);

  uint64_t size_bytes() const;
  uint64_t carved_bytes() const;
  // How much of the arena is backed by huge pages now, from /proc/self/smaps; 0 where the system does not say. Walks the
  // page tables of the whole process: for reports, not for loops.
  uint64_t huge_page_bytes() const;
  // What an ArenaHole here must be made of: huge pages where touch() got some and the arena is large enough that rounding to
  // them is small change; else small ones.
  uint64_t page_bytes() const { return page_bytes_; }

 private:
  Arena() = default;
  std::byte* base_ = nullptr;
  uint64_t size_bytes_ = 0;
  uint64_t carved_bytes_ = 0;
  uint64_t page_bytes_ = 4096;
};

}  // namespace hypura::nvme_io
