// Streamed bands in execution order: decides what the ring reads next, and gives out what has arrived.
//
// One lap of the stream is one sweep: the bands that the plan does not pin, ascending, without the head's when the sweep
// leaves them out. Read-ahead runs across the end of a sweep into the next lap, but never further, because the plan after
// that is not known. A band is in the ring once at most.
// Correct for any order of acquiring: a band that the ring has passed or skipped makes it start again at that band. So a new
// plan, a cancelled sweep or a wrong guess about the head costs reads and nothing else.
// Threads and allocation: as BlockRing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/scheduler/cache_log.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/io_thread.h"
#include "native/scheduler/ring.h"

namespace hypura::scheduler {

class BandStream {
 public:
  // slots: bands that can be inside at once; slot i uses fetch first_fetch + i. places: bands of the pin order that have a
  // place of their own. References outlive the stream.
  BandStream(const BlockHulls& hulls, IoThread& io, CacheLog& log, std::span<std::byte> region,
             uint32_t slots, uint32_t first_fetch, uint32_t places);

  // Not pinned under the plan in force. A band that has a place but does not fit into the ring stays in its place.
  bool streamed(BlockId band) const;

  // Keeps what the new lap will want, in its order, and lets go of the rest.
  // pin_count: at most the bands that have a place.
  void begin_sweep(uint32_t pin_count, bool with_head, bool next_with_head);
  // Lets go of what this lap has left and reads on into the next.
  void end_sweep();

  // Between sweeps: lets go of everything; the next sweep reads anew.
  void forget();

  // Band `first` comes next: what lies before it is let go. If it is not inside, the ring starts again at it.
  void seek(BlockId first);
  // The same for a pinned band.
  void pass_before(BlockId first);
  // Queues reads as far as the ring has room.
  void refill();

  bool inside(BlockId band) const { return slot_at(band) != kNowhere; }
  bool ready(BlockId band) const;
  // While a band is not inside: whether room for it will come without the caller doing anything.
  bool room_will_come() const;
  // The error that took `band` out of the ring since the last seek().
  const FetchOutcome* failure_of(BlockId band) const {
    return failed_band_ == band ? &failure_ : nullptr;
  }
  // Nobody waits for this band any more.
  void cancel(BlockId band);

  // A ready band: its extent's first byte. The band leaves the ring with its last lease.
  const std::byte* lease(BlockId band);
  void release(BlockId band);
  bool owns(const std::byte* data) const {
    return data >= region_.data() && data < region_.data() + region_.size();
  }

  // Completion of fetch first_fetch + slot.
  void completed(SlotId slot, Completed what);

  // Between sweeps: `places` bands have a place from here on, and the ring is `region`; another one than before asks for an
  // empty ring.
  void resize(std::span<std::byte> region, uint32_t places);
  // Between sweeps: lets go of all that is inside. False while reads are on their way, because the kernel may still write;
  // until resize() the ring does not read past the end of a sweep, so that there are none after the next one.
  bool drain();
  std::span<std::byte> region() const { return region_; }

 private:
  static constexpr uint32_t kNowhere = 0xffffffffu;
  static constexpr uint32_t kNoPosition = 0xffffffffu;
  struct Cursor {
    uint32_t lap = 0;
    uint32_t position = 0;
  };

  uint32_t slot_at(BlockId band) const { return slot_of_[position_of_[index_of(band)]]; }
  uint32_t fetch_of(SlotId slot) const { return first_fetch_ + index_of(slot); }
  uint32_t next_streamed(Cursor& cursor) const;
  void pass(SlotId slot);
  void set_free(SlotId slot);
  void forget(SlotId slot);

  const BlockHulls& hulls_;
  IoThread& io_;
  CacheLog& log_;
  std::span<std::byte> region_;
  const uint32_t first_fetch_;
  BlockRing ring_;
  std::vector<BlockId> bands_;           // ascending: the cycle
  std::vector<uint32_t> position_of_;    // by block: into bands_
  std::vector<uint32_t> pinned_from_;    // by position: least pin_count that pins the band
  std::vector<uint32_t> slot_of_;        // by position
  uint32_t head_position_ = 0;           // first band of the head
  uint32_t pin_count_ = 0;
  uint32_t lap_ = 0;                     // of this sweep
  bool with_head_ = true;
  bool next_with_head_ = true;
  bool queue_was_full_ = false;
  bool draining_ = false;
  Cursor cursor_;                        // next band to push
  BlockId demanded_ = kNoBlock;          // the loop waits for it
  BlockId awaited_ = kNoBlock;           // its failure ends a wait; others fail again when it is their turn
  BlockId failed_band_ = kNoBlock;
  FetchOutcome failure_;
};

}  // namespace hypura::scheduler
