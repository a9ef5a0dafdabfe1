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

#include "native/nvme_io/arena_hole.h"
#include "native/scheduler/band_stream.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/cache_log.h"
#include "native/scheduler/followers.h"
#include "native/scheduler/guesses.h"
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
    SlotId slot{};  // experts and row bands: of their pool
    bool spare = false;  // nobody misses it
  };

  State(const BlockTable& table, const CacheSizes& sizes, const CacheRegions& regions,
        std::vector<uint32_t> file_alignment_bytes, std::vector<IoFile> files,
        std::unique_ptr<nvme_io::IoBackend> backend, uint32_t io_depth, uint64_t page_bytes,
        EventRing& events, const CopyLayout& copies);
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
  Guesses guesses;
  Followers followers;
  PoolRequest rows;

  SweepInfo sweep;
  bool sweeping = false;  // begin_sweep() was called once

  // What is read into places: by load(), and by resize_step() when bands come back. Which job each fetch works on, and what
  // went wrong.
  void queue_jobs(ReadClass read_class);
  // All blocks of a kind, when their pool holds them; false when it does not.
  bool add_pool_jobs(BlockKind kind, SlotPool& pool);
  // The plan's warm list, as far as there are slots.
  void add_warm_jobs(const Plan& plan);
  void add_pool_job(SlotPool& pool, BlockId block, double score, bool spare);
  bool jobs_over() const {
    return next_job == jobs.size() && free_fetches.size() == fetches.count - fetches.load;
  }
  void load_completed(uint32_t fetch, Completed what);
  std::vector<LoadJob> jobs;  // room for every pinned band
  size_t next_job = 0;
  std::vector<uint32_t> job_of_fetch;
  std::vector<uint32_t> free_fetches;
  std::optional<FetchOutcome> load_failure;

  // Resizing (block_cache_resize.cpp).
  Status check_division(const CacheDivision& wanted) const;
  Result<ResizeProgress> resize_step();
  void let_bands_go();
  Status change_ring(uint64_t ring_bytes);
  Status grow_pool();
  Result<ResizeProgress> grow_stack();
  void begin_fill(uint32_t end, ReadClass read_class);
  void stop_fill();
  Status end_fill();
  Status give_up(Status status);
  Status move_stack_hole(uint32_t bands, uint64_t ring_bytes);
  Status move_pool_hole(uint32_t slots);
  void count_placed();
  bool filling() const { return fill_end > division.pin_count; }
  // Of a cache loaded without one: the last bytes of the pinned stack.
  std::span<std::byte> ring_in_stack(uint64_t ring_bytes) const {
    return ring_bytes == 0 ? std::span<std::byte>() : regions.pinned.last(ring_bytes);
  }

  std::vector<uint64_t> stack_bytes;  // of the first n bands of the pin order, up to those loaded
  CacheDivision division;             // in force
  CacheDivision target;
  uint32_t fill_end = 0;       // bands from division.pin_count up to here are on their way into their places
  bool fill_stopped = false;   // they are not wanted any more
  bool fills_ring = false;     // they take the ring's place: no sweep until they are there
  nvme_io::ArenaHole stack_hole, pool_hole;
};

}  // namespace hypura::scheduler
