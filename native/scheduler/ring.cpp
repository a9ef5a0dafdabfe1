#include "native/scheduler/ring.h"

#include "native/base/check.h"
#include "native/scheduler/poison.h"

namespace hypura::scheduler {

std::optional<SlotId> BlockRing::push(BlockId band, uint64_t size_bytes) {
  if (count_ == slots_.size()) return std::nullopt;
  uint64_t begin = 0;
  if (count_ == 0) {
    if (size_bytes > region_.size()) return std::nullopt;
  } else {
    const RingSlot& oldest = (*this)[at(0)];
    const RingSlot& newest = (*this)[at(count_ - 1)];
    const uint64_t tail = oldest.begin_bytes;
    const uint64_t head = newest.begin_bytes + newest.size_bytes;
    if (newest.begin_bytes >= oldest.begin_bytes) {  // used bytes lie in one piece
      if (size_bytes <= region_.size() - head) {
        begin = head;
      } else if (size_bytes <= tail) {
        begin = 0;
      } else {
        return std::nullopt;
      }
    } else {
      if (size_bytes > tail - head) return std::nullopt;
      begin = head;
    }
  }
  const SlotId slot = at(count_++);
  (*this)[slot] = {.band = band,
                   .state = RingSlotState::kLoading,
                   .begin_bytes = begin,
                   .size_bytes = size_bytes};
  unpoison(bytes(slot));
  return slot;
}

void BlockRing::unpush() {
  CHECK(count_ > 0);
  poison(bytes(at(--count_)));
}

void BlockRing::move(std::span<std::byte> region) {
  CHECK(count_ == 0);
  region_ = region;
}

void BlockRing::pop_free() {
  while (count_ > 0 && (*this)[at(0)].state == RingSlotState::kFree) {
    poison(bytes(at(0)));
    front_ = (front_ + 1) % static_cast<uint32_t>(slots_.size());
    --count_;
  }
  while (count_ > 0 && (*this)[at(count_ - 1)].state == RingSlotState::kFree) unpush();
}

}  // namespace hypura::scheduler
