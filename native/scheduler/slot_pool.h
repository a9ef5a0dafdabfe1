// Equal slots for blocks that come and go by worth: which block is where, and which slot is given up next.
//
// Greedy-dual with scores from outside (Cao and Irani 1997; Cherkasova 1998): on use, priority = clock + score. The victim
// is the ready slot of least priority that is neither leased, wanted nor held, the least recently used among equals; held
// ones come last, and only when nothing else is left, because a plan may make a run slow but never stop it. The clock rises
// to the victim's priority, so unused blocks age without being visited. Clock and priorities are f64 here and in
// ts/prefetch/reference-cache.ts, which is the executable specification.
// An indexed heap of the evictable slots keeps each step O(log slots).
// Thread: token loop only.   Allocates: in the constructor, never later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"

namespace hypura::scheduler {

enum class PoolSlotState : uint8_t {
  kFree,
  kLoading,      // queued or reading: its fetch knows which
  kReady,        // leased while leases > 0
  kQuarantined,  // nobody wants it; the kernel may still write
};

class SlotPool {
 public:
  // region: slots x slot_bytes. n_blocks: of the table.
  SlotPool(std::span<std::byte> region, uint64_t slot_bytes, uint32_t slots, uint32_t n_blocks);

  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  // Only slots below the limit take blocks; all do at first.
  uint32_t limit() const { return limit_; }
  // End of the slots that hold something, or that a read may still write into; at least the limit.
  uint32_t used_end() const;
  // Where a block is loading or ready.
  std::optional<SlotId> find(BlockId block) const {
    const uint32_t slot = slot_of_[index_of(block)];
    return slot == kNowhere ? std::nullopt : std::optional(SlotId{slot});
  }
  PoolSlotState state(SlotId slot) const { return slots_[index_of(slot)].state; }
  BlockId block(SlotId slot) const { return slots_[index_of(slot)].block; }
  bool wanted(SlotId slot) const { return slots_[index_of(slot)].wanted; }
  uint32_t leases(SlotId slot) const { return slots_[index_of(slot)].leases; }
  double clock() const { return clock_; }
  double priority(SlotId slot) const { return slots_[index_of(slot)].priority; }
  uint32_t free_count() const { return static_cast<uint32_t>(free_.size()); }
  // Slots that will come back by themselves: loading or quarantined.
  uint32_t busy_count() const { return busy_; }
  std::span<std::byte> bytes(SlotId slot) const {
    return region_.subspan(index_of(slot) * slot_bytes_, slot_bytes_);
  }

  struct Taken {
    SlotId slot{};
    BlockId evicted = kNoBlock;  // kNoBlock: the slot was free
    double priority = 0;         // of the evicted block
    uint32_t last_used = 0;      // sweep of its last use
  };
  // A slot for a new block: a free one, or the victim's. Nothing when every slot is leased, wanted or busy.
  std::optional<Taken> take();
  // As take(), but never the slot of a held or guarded block.
  std::optional<Taken> take_spare();
  // free -> loading. The slot must come from take() or give_back().
  void assign(SlotId slot, BlockId block, double score, uint32_t sweep);
  // taken or loading -> free, the block forgotten: its reads never began.
  void give_back(SlotId slot);
  void set_ready(SlotId slot);    // loading -> ready
  void quarantine(SlotId slot);   // loading -> quarantined
  void set_free(SlotId slot);     // quarantined -> free
  // A use: priority = clock + score.
  void touch(SlotId slot, double score, uint32_t sweep);
  // Wanted slots are not evicted: the request has not handed them out yet.
  void want(SlotId slot, bool wanted);
  // A guarded block is given up as late as a held one.
  void guard(SlotId slot, bool guarded);
  void lease(SlotId slot);
  void release(SlotId slot);
  // Plan's hold bits by block; empty: none.
  void hold(const std::vector<bool>& held_blocks);
  // Slots from `slots` on forget their blocks; those that load or are quarantined keep their memory until that is over.
  // None of them may be leased or wanted. Raising it brings the slots back, free.
  void limit(uint32_t slots);

 private:
  static constexpr uint32_t kNowhere = 0xffffffffu;
  struct Slot {
    BlockId block = kNoBlock;
    PoolSlotState state = PoolSlotState::kFree;
    bool wanted = false;
    bool held = false;
    bool guarded = false;
    bool kept() const { return held || guarded; }
    uint32_t leases = 0;
    uint32_t last_used = 0;       // sweep
    uint32_t heap_at = kNowhere;  // position among the evictable
    uint64_t used_at = 0;         // counts uses: breaks ties
    double priority = 0;
  };

  bool evictable(const Slot& slot) const {
    return slot.state == PoolSlotState::kReady && slot.leases == 0 && !slot.wanted;
  }
  bool before(uint32_t a, uint32_t b) const;
  void sift_up(uint32_t at);
  void sift_down(uint32_t at);
  void place(uint32_t at, uint32_t slot);
  void remove(uint32_t slot);
  void settle(uint32_t slot);  // brings the heap in line with the slot's fields
  void forget(Slot& slot);

  const std::span<std::byte> region_;
  const uint64_t slot_bytes_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> slot_of_;  // by block
  std::vector<uint32_t> free_;     // last out first
  std::vector<uint32_t> heap_;     // evictable slots, least worth first
  const std::vector<bool>* held_blocks_ = nullptr;
  double clock_ = 0;
  uint64_t uses_ = 0;
  uint32_t busy_ = 0;
  uint32_t limit_;
};

}  // namespace hypura::scheduler
