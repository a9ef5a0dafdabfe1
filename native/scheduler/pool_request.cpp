#include "native/scheduler/pool_request.h"

#include <algorithm>
#include <string>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"

namespace hypura::scheduler {

PoolRequest::PoolRequest(const BlockHulls& hulls, IoThread& io, CacheLog& log,
                         std::span<std::byte> region, uint64_t slot_bytes, uint32_t slots,
                         uint32_t first_fetch, uint32_t blocks)
    : io_(io),
      log_(log),
      pool_(region, slot_bytes, slots, hulls.table().size()),
      first_fetch_(first_fetch),
      named_in_(hulls.table().size(), 0),
      ahead_(slots, false) {
  named_.reserve(blocks);
  missing_.reserve(blocks);
  arrived_.reserve(blocks);
  warming_.reserve(slots);
}

void PoolRequest::begin_sweep(const Plan& plan, PrefillAdmission admission) {
  admission_ = admission;
  const bool is_new = plan_ != &plan || plan_number_ != plan.sequence_number;
  plan_ = &plan;
  plan_number_ = plan.sequence_number;
  if (!is_new) return;
  pool_.hold(plan.hold);
  warm_begin_ = 0;
  while (drop_a_warm_one()) {
  }
}

void PoolRequest::warm() {
  if (plan_ == nullptr) return;
  std::erase_if(warming_, [&](SlotId slot) {
    return pool_.state(slot) != PoolSlotState::kLoading || pool_.wanted(slot);
  });
  for (; pool_.free_count() > 0 && warm_begin_ < plan_->warm.size(); ++warm_begin_) {
    const BlockId block = plan_->warm[warm_begin_];
    if (pool_.find(block)) continue;
    const SlotId slot = pool_.take()->slot;
    if (!load(slot, block, score_in(*plan_, block), ReadClass::kWarm)) return;
    warming_.push_back(slot);
  }
}

// Gives back the slot of the warm read that would come last; false when none is still queued.
bool PoolRequest::drop_a_warm_one() {
  while (!warming_.empty()) {
    const SlotId slot = warming_.back();
    warming_.pop_back();
    if (pool_.state(slot) != PoolSlotState::kLoading || pool_.wanted(slot)) continue;
    if (!io_.drop(fetch_of(slot))) continue;
    pool_.give_back(slot);
    return true;
  }
  return false;
}

Status PoolRequest::begin(std::span<const BlockId> blocks) {
  let_go(false);
  ++number_;
  for (BlockId block : blocks) {
    if (std::exchange(named_in_[index_of(block)], number_) == number_) {
      const HotPathPause pause;
      return Status::error(Code::kInternal, "block " + std::to_string(index_of(block)) +
                                                " was requested twice at once");
    }
  }
  named_.assign(blocks.begin(), blocks.end());
  for (BlockId block : blocks) {
    auto slot = pool_.find(block);
    const bool hit = slot && pool_.state(*slot) == PoolSlotState::kReady;
    // A block that was read ahead had to be read for this sweep.
    log_.used(block, hit && !ahead_[index_of(*slot)]);
    if (slot) ahead_[index_of(*slot)] = false;
    if (slot && !hit && io_.drop(fetch_of(*slot))) {
      pool_.give_back(*slot);  // was queued behind others; goes to the front instead
      slot.reset();
    }
    if (!slot) {
      missing_.push_back(block);
      continue;
    }
    if (admission_ != PrefillAdmission::kBypass)
      pool_.touch(*slot, score_in(*plan_, block), log_.sweep());
    pool_.want(*slot, true);
    if (hit) {
      arrived_.push_back(*slot);
    } else {
      io_.urge(fetch_of(*slot));
      ++awaited_;
    }
  }
  assign();
  return {};
}

// Gives slots to the missing blocks, in the order of the request, as far as there are any.
void PoolRequest::assign() {
  for (; missing_begin_ < missing_.size(); ++missing_begin_) {
    const BlockId block = missing_[missing_begin_];
    if (pool_.free_count() == 0) drop_a_warm_one();
    const auto taken = pool_.take();
    if (!taken) return;
    if (taken->evicted != kNoBlock) log_.evicted(*taken, block);
    const double score = admission_ == PrefillAdmission::kNormal ? score_in(*plan_, block) : 0;
    if (!load(taken->slot, block, score, ReadClass::kDemand)) return;
    pool_.want(taken->slot, true);
    ++awaited_;
  }
}

// Fills a taken slot; gives it back when the queue is full, which passes.
bool PoolRequest::load(SlotId slot, BlockId block, double score, ReadClass read_class) {
  pool_.assign(slot, block, score, log_.sweep());
  ahead_[index_of(slot)] = read_class == ReadClass::kGuess;
  if (io_.queue(fetch_of(slot), block, pool_.bytes(slot).data(), read_class)) return true;
  pool_.give_back(slot);
  return false;
}

PoolRequest::Step PoolRequest::next(SlotId& slot) {
  assign();
  if (arrived_begin_ < arrived_.size()) {
    slot = arrived_[arrived_begin_++];
    pool_.lease(slot);
    pool_.want(slot, false);
    return Step::kLeased;
  }
  if (failed_) return Step::kFailed;
  if (awaited_ > 0) return Step::kWait;
  if (missing_begin_ == missing_.size()) return Step::kEmpty;
  // A free slot means that only the queue was full for a moment.
  return pool_.busy_count() > 0 || pool_.free_count() > 0 ? Step::kWait : Step::kStuck;
}

std::optional<BlockId> PoolRequest::another() const {
  if (missing_begin_ < missing_.size() || arrived_begin_ == arrived_.size()) return {};
  return pool_.block(arrived_[arrived_begin_]);
}

bool PoolRequest::has(BlockId block) const {
  const auto slot = pool_.find(block);
  return slot && !ahead_[index_of(*slot)];
}

bool PoolRequest::read_ahead(BlockId block) {
  if (missing_begin_ < missing_.size() || pool_.find(block)) return false;
  const auto taken = pool_.take_spare();
  if (!taken) return false;
  if (taken->evicted != kNoBlock) log_.evicted(*taken, block);
  return load(taken->slot, block, 0, ReadClass::kGuess);
}

bool PoolRequest::drop_read_ahead(BlockId block) {
  const auto slot = pool_.find(block);
  if (!slot || !ahead_[index_of(*slot)] || pool_.state(*slot) != PoolSlotState::kLoading) return false;
  if (!io_.drop(fetch_of(*slot))) return false;
  pool_.give_back(*slot);
  return true;
}

void PoolRequest::guard(BlockId block, bool guarded) {
  if (const auto slot = pool_.find(block)) pool_.guard(*slot, guarded);
}

void PoolRequest::cancel() { let_go(true); }

void PoolRequest::forget() {
  let_go(true);
  warming_.clear();
  for (uint32_t i = 0; i < pool_.size(); ++i) {
    const SlotId slot{i};
    if (pool_.state(slot) != PoolSlotState::kLoading) continue;
    if (io_.drop(fetch_of(slot))) {
      pool_.give_back(slot);
    } else {
      io_.abandon(fetch_of(slot));
      pool_.quarantine(slot);
    }
  }
  std::vector<SlotId> taken;
  while (const auto next = pool_.take()) taken.push_back(next->slot);
  for (size_t i = taken.size(); i-- > 0;) pool_.give_back(taken[i]);
}

void PoolRequest::let_go(bool quarantine) {
  for (BlockId block : named_) {
    const auto slot = pool_.find(block);
    if (!slot || !pool_.wanted(*slot)) continue;
    pool_.want(*slot, false);
    if (pool_.state(*slot) != PoolSlotState::kLoading) continue;
    if (io_.drop(fetch_of(*slot))) {
      pool_.give_back(*slot);
    } else if (quarantine) {
      io_.abandon(fetch_of(*slot));
      pool_.quarantine(*slot);
    }
  }
  named_.clear();
  missing_.clear();
  arrived_.clear();
  missing_begin_ = arrived_begin_ = 0;
  awaited_ = 0;
  failed_ = false;
}

void PoolRequest::limit(uint32_t slots) {
  let_go(false);
  for (uint32_t i = slots; i < pool_.size(); ++i) {
    const SlotId slot{i};
    if (pool_.state(slot) != PoolSlotState::kLoading) continue;
    if (io_.drop(fetch_of(slot))) {
      pool_.give_back(slot);
    } else {
      io_.abandon(fetch_of(slot));
      pool_.quarantine(slot);
    }
  }
  pool_.limit(slots);
}

void PoolRequest::release(SlotId slot) {
  pool_.release(slot);
  assign();
}

void PoolRequest::completed(SlotId slot, Completed what) {
  const FetchOutcome& outcome = io_.outcome(fetch_of(slot));
  const BlockId block = io_.block(fetch_of(slot));
  const bool loading = pool_.state(slot) == PoolSlotState::kLoading;
  if (what == Completed::kFailed) {
    log_.failed(block, outcome);
    if (!loading) return;
    if (pool_.wanted(slot)) {
      --awaited_;
      failed_ = true;
      failure_ = outcome;
    }
    pool_.quarantine(slot);
  } else if (loading) {
    CHECK(what == Completed::kDone);
    log_.read(block, outcome);
    pool_.set_ready(slot);
    if (!pool_.wanted(slot)) return;
    --awaited_;
    arrived_.push_back(slot);
  } else {
    pool_.set_free(slot);
  }
}

}  // namespace hypura::scheduler
