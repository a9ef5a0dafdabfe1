#include "native/scheduler/band_stream.h"

#include <algorithm>

#include "native/base/check.h"

namespace hypura::scheduler {

BandStream::BandStream(const BlockHulls& hulls, IoThread& io, CacheLog& log,
                       std::span<std::byte> region, uint32_t slots, uint32_t first_fetch,
                       uint32_t places)
    : hulls_(hulls),
      io_(io),
      log_(log),
      region_(region),
      first_fetch_(first_fetch),
      ring_(region, slots),
      position_of_(hulls.table().size(), kNoPosition) {
  const BlockTable& table = hulls.table();
  for (uint32_t i = 0; i < table.size(); ++i) {
    if (table[BlockId{i}].kind != BlockKind::kBand) continue;
    position_of_[i] = static_cast<uint32_t>(bands_.size());
    bands_.push_back(BlockId{i});
  }
  slot_of_.assign(bands_.size(), kNowhere);
  pinned_from_.assign(bands_.size(), 0);
  resize(region, places);
  head_position_ = static_cast<uint32_t>(
      std::lower_bound(bands_.begin(), bands_.end(), table.first_head_band()) - bands_.begin());
}

void BandStream::resize(std::span<std::byte> region, uint32_t places) {
  if (region.data() != region_.data() || region.size() != region_.size()) ring_.move(region);
  region_ = region;
  draining_ = false;
  const std::span<const BlockId> pin_order = hulls_.table().pin_order();
  for (uint32_t rank = 0; rank < pin_order.size(); ++rank) {
    const bool stays = rank < places && hulls_.slot_bytes(pin_order[rank]) > region.size();
    pinned_from_[position_of_[index_of(pin_order[rank])]] = stays ? 0 : rank + 1;
  }
}

bool BandStream::drain() {
  draining_ = true;
  for (uint32_t i = 0; i < ring_.size(); ++i) pass(ring_.at(i));
  ring_.pop_free();
  return ring_.empty();
}

bool BandStream::streamed(BlockId band) const {
  return pinned_from_[position_of_[index_of(band)]] > pin_count_;
}

bool BandStream::ready(BlockId band) const {
  const uint32_t slot = slot_at(band);
  return slot != kNowhere && ring_[SlotId{slot}].state == RingSlotState::kReady;
}

// Worked example: three bands, the second pinned; slots for 0, 2 of this lap and 0 of the next are kept when the plan stays.
// If the plan now streams band 1, slot 0 is kept, and 2 and 0 are let go, because 1 must come between them.
void BandStream::begin_sweep(uint32_t pin_count, bool with_head, bool next_with_head) {
  ++lap_;
  pin_count_ = pin_count;
  with_head_ = with_head;
  next_with_head_ = next_with_head;
  cursor_ = {.lap = lap_, .position = 0};
  bool in_order = true;
  for (uint32_t i = 0; i < ring_.size(); ++i) {
    RingSlot& slot = ring_[ring_.at(i)];
    if (slot.state == RingSlotState::kFree || slot.state == RingSlotState::kQuarantined ||
        slot.leases > 0)
      continue;
    if (in_order) {
      const uint32_t position = next_streamed(cursor_);
      in_order = position != kNoPosition && bands_[position] == slot.band;
    }
    if (in_order) {
      slot.lap = cursor_.lap;
      ++cursor_.position;
    } else {
      pass(ring_.at(i));
    }
  }
  refill();
}

void BandStream::end_sweep() {
  for (uint32_t i = 0; i < ring_.size(); ++i)
    if (ring_[ring_.at(i)].lap == lap_) pass(ring_.at(i));
  if (cursor_.lap == lap_) cursor_ = {.lap = lap_ + 1, .position = 0};
  refill();
}

void BandStream::forget() {
  for (uint32_t i = 0; i < ring_.size(); ++i) pass(ring_.at(i));
}

void BandStream::seek(BlockId first) {
  awaited_ = first;
  failed_band_ = kNoBlock;
  const uint32_t wanted = slot_at(first);
  for (uint32_t i = 0; i < ring_.size() && index_of(ring_.at(i)) != wanted; ++i) pass(ring_.at(i));
  if (wanted != kNowhere) return;
  const uint32_t position = position_of_[index_of(first)];
  cursor_ = {.lap = lap_, .position = position};
  if (position >= head_position_) with_head_ = true;
  demanded_ = first;
  refill();
  demanded_ = kNoBlock;
}

void BandStream::pass_before(BlockId first) {
  for (uint32_t i = 0; i < ring_.size(); ++i) {
    const RingSlot& slot = ring_[ring_.at(i)];
    if (slot.lap == lap_ && slot.band < first) pass(ring_.at(i));
  }
}

void BandStream::refill() {
  ring_.pop_free();
  queue_was_full_ = false;
  while (true) {
    const uint32_t position = next_streamed(cursor_);
    if (position == kNoPosition || slot_of_[position] != kNowhere) return;
    const BlockId band = bands_[position];
    const auto slot = ring_.push(band, hulls_.slot_bytes(band));
    if (!slot) return;
    const ReadClass read_class = band == demanded_ ? ReadClass::kDemand : ReadClass::kRing;
    if (!io_.queue(fetch_of(*slot), band, ring_.bytes(*slot).data(), read_class)) {
      ring_.unpush();
      queue_was_full_ = true;
      return;
    }
    ring_[*slot].lap = cursor_.lap;
    slot_of_[position] = index_of(*slot);
    ++cursor_.position;
  }
}

// The first streamed band at or after the cursor, which is moved to it; kNoPosition past the end of the next lap.
uint32_t BandStream::next_streamed(Cursor& cursor) const {
  while (!draining_ || cursor.lap == lap_) {
    const bool head = cursor.lap == lap_ ? with_head_ : next_with_head_;
    const uint32_t end = head ? static_cast<uint32_t>(bands_.size()) : head_position_;
    while (cursor.position < end && pinned_from_[cursor.position] <= pin_count_) ++cursor.position;
    if (cursor.position < end) return cursor.position;
    if (cursor.lap != lap_) return kNoPosition;
    cursor = {.lap = lap_ + 1, .position = 0};
  }
  return kNoPosition;
}

bool BandStream::room_will_come() const {
  if (queue_was_full_) return true;
  for (uint32_t i = 0; i < ring_.size(); ++i) {
    const RingSlotState state = ring_[ring_.at(i)].state;
    if (state == RingSlotState::kLoading || state == RingSlotState::kQuarantined) return true;
  }
  return false;
}

void BandStream::cancel(BlockId band) {
  if (inside(band)) pass(SlotId{slot_at(band)});
}

const std::byte* BandStream::lease(BlockId band) {
  const SlotId id{slot_at(band)};
  RingSlot& slot = ring_[id];
  CHECK(slot.state == RingSlotState::kReady);
  ++slot.leases;
  slot.passed = true;
  return ring_.bytes(id).data() + hulls_.hull(band, 0).lead_bytes;
}

void BandStream::release(BlockId band) {
  const SlotId id{slot_at(band)};
  RingSlot& slot = ring_[id];
  CHECK(slot.leases > 0);
  if (--slot.leases == 0 && slot.passed) set_free(id);
}

void BandStream::completed(SlotId id, Completed what) {
  RingSlot& slot = ring_[id];
  const bool wanted = slot.state == RingSlotState::kLoading;
  CHECK(wanted || slot.state == RingSlotState::kQuarantined);
  if (what == Completed::kFailed) {
    log_.failed(slot.band, io_.outcome(fetch_of(id)));
    if (!wanted) return;
    if (slot.band == awaited_) {
      failed_band_ = slot.band;
      failure_ = io_.outcome(fetch_of(id));
    }
    forget(id);
    slot.state = RingSlotState::kQuarantined;
  } else if (wanted) {
    CHECK(what == Completed::kDone);
    log_.read(slot.band, io_.outcome(fetch_of(id)));
    slot.state = RingSlotState::kReady;
  } else {
    slot.state = RingSlotState::kFree;
  }
}

// The slot will not be asked for again in this lap.
void BandStream::pass(SlotId id) {
  RingSlot& slot = ring_[id];
  if (slot.state == RingSlotState::kReady) {
    slot.passed = true;
    if (slot.leases == 0) set_free(id);
  } else if (slot.state == RingSlotState::kLoading) {
    if (io_.drop(fetch_of(id))) return set_free(id);
    io_.abandon(fetch_of(id));
    forget(id);
    slot.state = RingSlotState::kQuarantined;
  }
}

void BandStream::set_free(SlotId id) {
  forget(id);
  ring_[id].state = RingSlotState::kFree;
}

void BandStream::forget(SlotId id) { slot_of_[position_of_[index_of(ring_[id].band)]] = kNowhere; }

}  // namespace hypura::scheduler
