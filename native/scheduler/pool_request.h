// A pool and what is asked of it: which blocks of a request are here, which are read, and in which order they are given out.
//
// Residents first, then by arrival, so that computing hides reading. A request may name more blocks than the pool has
// slots: it is then read in waves, as leases are given back. Hits are marked before the first miss takes a slot, so a
// request never evicts what it is about to use.
// Priorities are set when a request begins (misses: when they take their slot), not when reads arrive, so that they do not
// depend on the drive's timing.
// Thread: token loop only.   Allocates: in the constructor, never later.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/scheduler/cache_log.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/io_thread.h"
#include "native/scheduler/plan.h"
#include "native/scheduler/slot_pool.h"

namespace hypura::scheduler {

class PoolRequest {
 public:
  // Slot i uses fetch first_fetch + i. blocks: how many of this kind the table has. References outlive the request.
  PoolRequest(const BlockHulls& hulls, IoThread& io, CacheLog& log, std::span<std::byte> region,
              uint64_t slot_bytes, uint32_t slots, uint32_t first_fetch, uint32_t blocks);

  // admission: kNormal outside of prefill.
  void begin_sweep(const Plan& plan, PrefillAdmission admission);
  // Idle time: queues reads of the plan's warm list into free slots.
  void warm();

  // The request before it is forgotten. kInternal when a block is named twice.
  Status begin(std::span<const BlockId> blocks);

  enum class Step : uint8_t {
    kLeased,  // `slot` was handed out
    kEmpty,   // all were handed out
    kWait,    // nothing has arrived
    kFailed,  // failure() says why
    kStuck,   // every slot is leased by the caller
  };
  Step next(SlotId& slot);
  // What next() would hand out, when no block of the request waits for a slot.
  std::optional<BlockId> another() const;
  const FetchOutcome& failure() const { return failure_; }
  // Whether a block is here or on its way, other than by a read-ahead that was of no use yet.
  bool has(BlockId block) const;
  // Reads a block that may be asked for, into a free slot or that of the least worthy block; it is worth nothing itself until
  // it is used. False: it is here already, or there is no slot that the request under way could spare.
  bool read_ahead(BlockId block);
  // True: the read had not begun, and is forgotten.
  bool drop_read_ahead(BlockId block);
  // Where the block is in the pool: it is given up late.
  void guard(BlockId block, bool guarded);

  // Nobody waits any more: what has not begun is dropped, what has is quarantined.
  void cancel();
  // Between sweeps: every block leaves the pool, those on their way as well.
  void forget();

  // Between sweeps: ends the request, and only the first `slots` of the pool are used from here on; what others hold is let
  // go, what they load is dropped or abandoned.
  void limit(uint32_t slots);

  void release(SlotId slot);
  // Completion of fetch first_fetch + slot.
  void completed(SlotId slot, Completed what);

  SlotPool& pool() { return pool_; }
  const SlotPool& pool() const { return pool_; }

 private:
  uint32_t fetch_of(SlotId slot) const { return first_fetch_ + index_of(slot); }
  void assign();
  bool load(SlotId slot, BlockId block, double score, ReadClass read_class);
  bool drop_a_warm_one();
  void let_go(bool quarantine);

  IoThread& io_;
  CacheLog& log_;
  SlotPool pool_;
  const uint32_t first_fetch_;
  const Plan* plan_ = nullptr;
  uint32_t plan_number_ = 0;
  PrefillAdmission admission_ = PrefillAdmission::kNormal;

  // The request. Lists have room for every block of this kind.
  std::vector<uint32_t> named_in_;   // by block: number of the last request that named it
  uint32_t number_ = 0;
  std::vector<BlockId> named_;
  std::vector<BlockId> missing_;     // have no slot yet
  size_t missing_begin_ = 0;
  std::vector<SlotId> arrived_;      // ready, in the order in which they are handed out
  size_t arrived_begin_ = 0;
  uint32_t awaited_ = 0;             // wanted and loading
  bool failed_ = false;
  FetchOutcome failure_;

  std::vector<bool> ahead_;          // by slot: read ahead, and not used yet
  std::vector<SlotId> warming_;      // slots queued as warm, latest last; some of them are past that
  size_t warm_begin_ = 0;            // into the plan's list
};

}  // namespace hypura::scheduler
