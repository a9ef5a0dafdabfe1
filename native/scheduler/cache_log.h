// What the cache tells the outside: counters for everybody, events for the planner. Nothing here decides anything.
//
// A block counts as hit or miss once per sweep, when it is first asked for. Streamed bands are always misses, also when
// read-ahead had them in time: their bytes were read for this sweep.
// Thread: token loop only; the counters are read by any thread.   Allocates: in the constructor, never later.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "native/base/ids.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/plan.h"
#include "native/scheduler/read_queue.h"
#include "native/scheduler/slot_pool.h"

namespace hypura::scheduler {

// Crosses the border in stall events: append only.
enum class StallCause : uint32_t { kRing = 0, kExpert = 1, kRow = 2, kPin = 3 };

// How good the guesses of a sweep were, over the layers that were guessed.
struct GuessScore {
  uint32_t guessed = 0;         // blocks named
  uint32_t correct = 0;         // of them asked for
  uint32_t asked = 0;           // blocks asked for
  uint32_t absent = 0;          // of them neither here nor on their way when they were
  uint32_t correct_absent = 0;  // of those, guessed
};

class CacheLog {
 public:
  using Clock = std::chrono::steady_clock;

  // hulls outlives the log.
  CacheLog(const BlockHulls& hulls, EventRing& events)
      : hulls_(hulls), events_(events), counted_in_(hulls.table().size(), 0) {}

  CacheCounters counters;

  void begin_sweep(uint32_t number) {
    sweep_ = number;
    ++serial_;
  }
  uint32_t sweep() const { return sweep_; }
  // A block was asked for; hit: it was in memory.
  void used(BlockId block, bool hit);
  void read(BlockId block, const FetchOutcome& outcome);
  void failed(BlockId block, const FetchOutcome& outcome);
  void guessed(GuessMode mode, GuessSource source, const GuessScore& score);
  // A read for a guess began, and the guess is judged.
  void read_ahead(uint64_t bytes, bool used);
  void evicted(const SlotPool::Taken& taken, BlockId replaced_by);
  void stalled(BlockId block, Clock::time_point since, StallCause cause);

 private:
  Event event(EventKind kind, BlockId block) const;

  const BlockHulls& hulls_;
  EventRing& events_;
  std::vector<uint32_t> counted_in_;  // by block: serial number of the sweep
  uint32_t serial_ = 0;
  uint32_t sweep_ = 0;
};

}  // namespace hypura::scheduler
