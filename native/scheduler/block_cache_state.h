// What BlockCache is made of, and the one place where the token loop sleeps. Private to block_cache*.cpp.
//
// Fetch numbers name slots: experts, then rows, then the ring, then a few for load().
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native/scheduler/band_stream.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/cache_log.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/io_thread.h"
#include "native/scheduler/plan.h"
#include "native/scheduler/pool_request.h"

namespace hypura::scheduler {

// The regions carved from the arena.
struct CacheRegions {
  std::span<std::byte> trunk, pinned, ring, experts, rows;
};

// First fetch of each kind, and their number.
struct FetchRanges {
  uint32_t rows = 0, ring = 0, load = 0, count = 0;
};

// The time a caller sleeps, from its first sleep on: the stall that is counted and reported when it is over.
class Stall {
 public:
  Stall(CacheLog& log, Doorbell& bell, StallCause cause) : log_(log), bell_(bell), cause_(cause) {}
  Stall(const Stall&) = delete;
  Stall& operator=(const Stall&) = delete;
  ~Stall() {
    if (since_) log_.stalled(block, *since_, cause_);
  }
  // Sleeps until the bell has rung since `heard`, or it is time to look at the cancel flag again.
  void sleep(uint64_t heard) {
    if (!since_) since_ = CacheLog::Clock::now();
    bell_.wait(heard, kCancelPoll);
  }

  BlockId block = kNoBlock;  // what was waited for, as far as known

 private:
  static constexpr std::chrono::milliseconds kCancelPoll{10};
  CacheLog& log_;
  Doorbell& bell_;
  const StallCause cause_;
  std::optional<CacheLog::Clock::time_point> since_;
};

struct BlockCache::State {
  // What load() reads, and where to.
  struct LoadJob {
    BlockId block = kNoBlock;
    std::byte* into = nullptr;
    SlotId slot{};  // experts: of the pool
  };

  State(const BlockTable& table, const CacheSizes& sizes, const CacheRegions& regions,
        std::vector<uint32_t> file_alignment_bytes, std::vector<IoFile> files,
        std::unique_ptr<nvme_io::IoBackend> backend, uint32_t io_depth, EventRing& events,
        const CopyLayout& copies);
  ~State();

  bool is(BlockId block, BlockKind kind) const {
    return index_of(block) < table.size() && table[block].kind == kind;
  }
  bool cancelled() const {
    return sweep.cancelled != nullptr && sweep.cancelled->load(std::memory_order_relaxed);
  }

  // Takes all completions that are there.
  void pump();
  Status wait_for_band(BlockId band);
  const std::byte* band_data(BlockId band);
  Result<std::optional<SlotId>> next(PoolRequest& request, StallCause cause);
  // An error of the hot path: the one place where a sweep may allocate.
  Status error_of(const FetchOutcome& outcome) const;

  const BlockTable& table;
  const CacheSizes sizes;
  const CacheRegions regions;
  const BlockHulls hulls;
  CacheLog log;
  const FetchRanges fetches;
  std::vector<const std::byte*> data;  // by block: trunk and placed bands, the first extent's first byte
  std::unique_ptr<IoThread> io;
  BandStream stream;
  PoolRequest experts;
  PoolRequest rows;

  SweepInfo sweep;
  bool sweeping = false;  // begin_sweep() was called once

  // load() only: which job each of its fetches works on, and what went wrong.
  void load_completed(uint32_t fetch, Completed what);
  std::vector<LoadJob> jobs;
  std::vector<uint32_t> job_of_fetch;
  std::vector<uint32_t> free_fetches;
  std::optional<FetchOutcome> load_failure;
};

}  // namespace hypura::scheduler
