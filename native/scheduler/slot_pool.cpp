#include "native/scheduler/slot_pool.h"

#include <algorithm>

#include "native/base/check.h"
#include "native/scheduler/poison.h"

namespace hypura::scheduler {

SlotPool::SlotPool(std::span<std::byte> region, uint64_t slot_bytes, uint32_t slots,
                   uint32_t n_blocks)
    : region_(region),
      slot_bytes_(slot_bytes),
      slots_(slots),
      slot_of_(n_blocks, kNowhere),
      limit_(slots) {
  CHECK(region.size() == slot_bytes * slots);
  heap_.reserve(slots);
  free_.reserve(slots);
  for (uint32_t i = slots; i-- > 0;) free_.push_back(i);
  poison(region_);
}

std::optional<SlotPool::Taken> SlotPool::take() {
  if (!free_.empty()) {
    const uint32_t index = free_.back();
    free_.pop_back();
    return Taken{.slot = SlotId{index}};
  }
  if (heap_.empty()) return std::nullopt;
  const uint32_t index = heap_.front();
  Slot& slot = slots_[index];
  const Taken taken{.slot = SlotId{index},
                    .evicted = slot.block,
                    .priority = slot.priority,
                    .last_used = slot.last_used};
  clock_ = std::max(clock_, slot.priority);
  forget(slot);
  slot.state = PoolSlotState::kFree;
  settle(index);
  poison(bytes(taken.slot));
  return taken;
}

std::optional<SlotPool::Taken> SlotPool::take_spare() {
  if (free_.empty() && (heap_.empty() || slots_[heap_.front()].kept())) return std::nullopt;
  return take();
}

void SlotPool::assign(SlotId id, BlockId block, double score, uint32_t sweep) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kFree && slot_of_[index_of(block)] == kNowhere);
  slot.block = block;
  slot.state = PoolSlotState::kLoading;
  slot.held = held_blocks_ != nullptr && (*held_blocks_)[index_of(block)];
  slot_of_[index_of(block)] = index_of(id);
  ++busy_;
  unpoison(bytes(id));
  touch(id, score, sweep);
}

void SlotPool::give_back(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  if (slot.state == PoolSlotState::kLoading) {
    --busy_;
    forget(slot);
    poison(bytes(id));
  }
  CHECK(slot.state == PoolSlotState::kLoading || slot.state == PoolSlotState::kFree);
  slot.state = PoolSlotState::kFree;
  if (index_of(id) < limit_) free_.push_back(index_of(id));
}

void SlotPool::set_ready(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kLoading);
  slot.state = PoolSlotState::kReady;
  --busy_;
  settle(index_of(id));
}

void SlotPool::quarantine(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kLoading);
  forget(slot);
  slot.state = PoolSlotState::kQuarantined;
}

void SlotPool::set_free(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kQuarantined);
  slot.state = PoolSlotState::kFree;
  --busy_;
  poison(bytes(id));
  if (index_of(id) < limit_) free_.push_back(index_of(id));
}

void SlotPool::touch(SlotId id, double score, uint32_t sweep) {
  Slot& slot = slots_[index_of(id)];
  slot.priority = clock_ + score;
  slot.used_at = ++uses_;
  slot.last_used = sweep;
  settle(index_of(id));
}

void SlotPool::want(SlotId id, bool wanted) {
  slots_[index_of(id)].wanted = wanted;
  settle(index_of(id));
}

void SlotPool::guard(SlotId id, bool guarded) {
  slots_[index_of(id)].guarded = guarded;
  settle(index_of(id));
}

void SlotPool::lease(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kReady);
  ++slot.leases;
  settle(index_of(id));
}

void SlotPool::release(SlotId id) {
  Slot& slot = slots_[index_of(id)];
  CHECK(slot.state == PoolSlotState::kReady && slot.leases > 0);
  --slot.leases;
  settle(index_of(id));
}

void SlotPool::hold(const std::vector<bool>& held_blocks) {
  held_blocks_ = held_blocks.empty() ? nullptr : &held_blocks;
  for (Slot& slot : slots_)
    slot.held = held_blocks_ != nullptr && slot.block != kNoBlock &&
                (*held_blocks_)[index_of(slot.block)];
  for (uint32_t at = static_cast<uint32_t>(heap_.size()) / 2; at-- > 0;) sift_down(at);
}

void SlotPool::limit(uint32_t slots) {
  limit_ = slots;
  for (uint32_t i = limit_; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.state != PoolSlotState::kReady) continue;
    CHECK(slot.leases == 0 && !slot.wanted);
    forget(slot);
    slot.state = PoolSlotState::kFree;
    settle(i);
    poison(bytes(SlotId{i}));
  }
  free_.clear();
  for (uint32_t i = limit_; i-- > 0;)
    if (slots_[i].state == PoolSlotState::kFree) free_.push_back(i);
}

uint32_t SlotPool::used_end() const {
  uint32_t end = size();
  while (end > limit_ && slots_[end - 1].state == PoolSlotState::kFree) --end;
  return end;
}

void SlotPool::forget(Slot& slot) {
  slot_of_[index_of(slot.block)] = kNowhere;
  slot.block = kNoBlock;
  slot.wanted = slot.held = slot.guarded = false;
}

// Whether slot a is given up before slot b.
bool SlotPool::before(uint32_t a, uint32_t b) const {
  const Slot &left = slots_[a], &right = slots_[b];
  if (left.kept() != right.kept()) return right.kept();
  if (left.priority != right.priority) return left.priority < right.priority;
  return left.used_at < right.used_at;
}

void SlotPool::settle(uint32_t index) {
  Slot& slot = slots_[index];
  if (!evictable(slot)) {
    if (slot.heap_at != kNowhere) remove(index);
    return;
  }
  if (slot.heap_at == kNowhere) {
    heap_.push_back(index);
    slot.heap_at = static_cast<uint32_t>(heap_.size()) - 1;
  }
  sift_up(slot.heap_at);
  sift_down(slot.heap_at);
}

void SlotPool::remove(uint32_t index) {
  const uint32_t at = slots_[index].heap_at;
  const uint32_t last = heap_.back();
  heap_.pop_back();
  slots_[index].heap_at = kNowhere;
  if (last == index) return;
  place(at, last);
  sift_up(at);
  sift_down(slots_[last].heap_at);
}

void SlotPool::place(uint32_t at, uint32_t slot) {
  heap_[at] = slot;
  slots_[slot].heap_at = at;
}

void SlotPool::sift_up(uint32_t at) {
  const uint32_t slot = heap_[at];
  while (at > 0 && before(slot, heap_[(at - 1) / 2])) {
    place(at, heap_[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  place(at, slot);
}

void SlotPool::sift_down(uint32_t at) {
  const uint32_t slot = heap_[at];
  for (uint32_t child = 2 * at + 1; child < heap_.size(); child = 2 * at + 1) {
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], slot)) break;
    place(at, heap_[child]);
    at = child;
  }
  place(at, slot);
}

}  // namespace hypura::scheduler
