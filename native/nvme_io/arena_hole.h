// A stretch of an arena that holds nothing: its pages are given back to the system, and fetched again when it shrinks.
//
// Only whole pages belong to a hole, counted inward from both ends, so nothing live beside it is ever lost. Where the arena
// has huge pages a hole takes and gives those as a whole: one that is cut would stay in memory until the kernel splits it.
// What is given back leaves the process and its cgroup at once (MADV_DONTNEED); reads and writes of the hole's bytes are legal
// and make pages come back uncounted, so nobody may do either.
// Thread: one at a time.   Allocates: never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/status.h"

namespace hypura::nvme_io {

class ArenaHole {
 public:
  // page_bytes: Arena::page_bytes().
  explicit ArenaHole(uint64_t page_bytes) : page_bytes_(page_bytes) {}

  // The hole is `bytes` from here on; empty: none. Pages that only the new one has are given back, pages that only the old one
  // has are fetched and are zero; fresh ones cost about 2 s per GiB. Error: kInsufficientMemory, and the hole is as before.
  // Where the system has no room under a cgroup's limit it may end the process instead of answering: ask for what is free.
  Status move(std::span<std::byte> bytes);

  // Bytes of the pages that are with the system.
  uint64_t given_back_bytes() const { return end_ - begin_; }

 private:
  const uint64_t page_bytes_;
  uint64_t begin_ = 0;  // addresses of whole pages; both 0 when there are none
  uint64_t end_ = 0;
};

}  // namespace hypura::nvme_io
