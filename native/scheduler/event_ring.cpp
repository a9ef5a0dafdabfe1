#include "native/scheduler/event_ring.h"

#include <algorithm>

#include "native/base/check.h"

namespace hypura::scheduler {

EventRing::EventRing(uint32_t capacity) : records_(capacity), mask_(capacity - 1) {
  CHECK(capacity > 0 && (capacity & mask_) == 0);
}

void EventRing::push(const Event& event) {
  const uint64_t head = head_.load(std::memory_order_relaxed);
  // Pairs with the store in drain(): a record is overwritten only after it was copied out.
  if (head - tail_.load(std::memory_order_acquire) == records_.size()) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  records_[head & mask_] = event;
  head_.store(head + 1, std::memory_order_release);  // pairs with the load in drain()
}

uint32_t EventRing::drain(std::span<Event> into) {
  const uint64_t tail = tail_.load(std::memory_order_relaxed);
  const uint64_t head = head_.load(std::memory_order_acquire);  // pairs with the store in push()
  const uint64_t count = std::min<uint64_t>(head - tail, into.size());
  for (uint64_t i = 0; i < count; ++i) into[i] = records_[(tail + i) & mask_];
  tail_.store(tail + count, std::memory_order_release);  // pairs with the load in push()
  return static_cast<uint32_t>(count);
}

}  // namespace hypura::scheduler
