// Circular region through which streamed bands flow, in execution order: who has which bytes, and nothing else.
//
// Why a ring: a dense model touches the same bands in the same order for every token, so the first band to arrive is the
// first to leave, and bands of any size fit without holes. A slot is cut to its band when it is pushed, lies in one piece
// (the rest at the region's end is skipped when a band does not fit there), and its bytes are reused only after it and
// everything older is free.
// Holds always: the slots between tail and head do not overlap; a slot is popped only in state kFree.
// Thread: token loop only.   Allocates: in the constructor, never later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"

namespace hypura::scheduler {

enum class RingSlotState : uint8_t {
  kFree,         // waits for its turn to be popped
  kLoading,      // queued or reading
  kReady,        // leased while leases > 0
  kQuarantined,  // nobody wants it; the kernel may still write
};

struct RingSlot {
  BlockId band = kNoBlock;
  RingSlotState state = RingSlotState::kFree;
  bool passed = false;         // becomes free with its last lease
  uint32_t leases = 0;
  uint32_t lap = 0;            // which sweep it is read for
  uint64_t begin_bytes = 0;    // in the region
  uint64_t size_bytes = 0;
};

class BlockRing {
 public:
  // region: may be empty, then nothing can be pushed. slots: how many bands can be inside at once.
  BlockRing(std::span<std::byte> region, uint32_t slots)
      : region_(region), slots_(slots) {}

  // Cuts a slot of at most the region's size. Empty when there is no room, which is normal: free the tail first.
  std::optional<SlotId> push(BlockId band, uint64_t size_bytes);
  // Undoes the last push.
  void unpush();
  // Gives back free slots at the tail, and those at the head, which nobody came to use.
  void pop_free();

  // Another region; the ring must be empty.
  void move(std::span<std::byte> region);

  uint32_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  // The i-th oldest.
  SlotId at(uint32_t i) const { return SlotId{static_cast<uint32_t>((front_ + i) % slots_.size())}; }
  RingSlot& operator[](SlotId slot) { return slots_[index_of(slot)]; }
  const RingSlot& operator[](SlotId slot) const { return slots_[index_of(slot)]; }
  std::span<std::byte> bytes(SlotId slot) const {
    const RingSlot& at = slots_[index_of(slot)];
    return region_.subspan(at.begin_bytes, at.size_bytes);
  }

 private:
  std::span<std::byte> region_;
  std::vector<RingSlot> slots_;  // itself circular: count_ of them from front_ on
  uint32_t front_ = 0;
  uint32_t count_ = 0;
};

}  // namespace hypura::scheduler
