// Which copy of the model serves a read: the one that should be done first.
//
// A drive is done with a read after (bytes it has to deliver already + this read) / its bandwidth; the least of these sums
// over the copies of the file wins, the first copy among equals. Bandwidths are those measured at load. What reads really
// take moves a factor per drive, slowly and within bounds, so a drive that slows down gets less; a drive that is left
// alone for kForgiveTime gets another chance. A drive whose depth is used up is waited for when it would still be first,
// unless it has delivered nothing for kStuckTime.
//   drives of 3 and 1 GB/s, 1 MiB reads: of four reads three go to the first and one to the second
// A copy that failed kCopyFailuresMax times, or whose drive has gone, is asked only when no healthy one is left; one whose
// bytes cannot be trusted never. None of this can change a byte: all copies were compared at load.
// Threads: I/O thread, except for the counters.   Allocates: in the constructor.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "native/base/limits.h"
#include "native/scheduler/copies.h"

namespace hypura::scheduler {

class CopyRouter {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kForgiveTime{1};
  static constexpr std::chrono::seconds kStuckTime{1};
  static constexpr uint32_t kNone = 0xffffffffu;

  // depth: reads in flight per drive. counters outlive the router.
  CopyRouter(const CopyLayout& layout, uint32_t files, uint32_t depth,
             std::array<CopyCounters, kCopiesMax>& counters);

  uint32_t copies() const { return copies_; }
  // Every drive has as many reads as it may have.
  bool all_full() const { return full_ == drives_.size(); }

  // The copy to read from, among those whose bit in `asked` is 0. kNone: wait until a drive has room. At least one copy of
  // those not asked is not dropped (can_ask()).
  uint32_t choose(uint32_t file, uint32_t bytes, uint32_t asked, Clock::time_point now);
  bool has_room(uint32_t file, uint32_t copy) const { return !full(drive_of(file, copy)); }
  // Whether a copy is left that has not been asked and may be.
  bool can_ask(uint32_t asked) const;
  bool dropped(uint32_t copy) const {
    return counters_[copy].state.load(std::memory_order_relaxed) == CopyState::kDropped;
  }

  // A read goes to the drive; nanoseconds that it should take there.
  double submitted(uint32_t file, uint32_t copy, uint32_t bytes, Clock::time_point now);
  // It did not go after all.
  void withdrawn(uint32_t file, uint32_t copy, uint32_t bytes);
  // It came back, with `result` bytes of `bytes`, `taken` nanoseconds after it was submitted.
  void returned(uint32_t file, uint32_t copy, uint32_t bytes, uint32_t result, double expected,
                double taken, Clock::time_point now);
  // A read failed for this copy; errno_value 0: the file ended before it should.
  void failed(uint32_t file, uint32_t copy, uint64_t offset_bytes, int errno_value);

 private:
  struct Drive {
    double bytes_per_ns = 1;
    double slowness = 1;  // what reads take, over what they should
    uint64_t outstanding_bytes = 0;
    uint32_t outstanding = 0;
    Clock::time_point moved_at;
  };

  uint32_t drive_of(uint32_t file, uint32_t copy) const {
    return drive_of_[copy * files_ + file];
  }
  bool full(uint32_t drive) const { return drives_[drive].outstanding >= depth_; }
  CopyState state(uint32_t copy) const {
    return counters_[copy].state.load(std::memory_order_relaxed);
  }
  double expected_ns(const Drive& drive, uint32_t bytes) const;
  uint32_t best(uint32_t file, uint32_t bytes, uint32_t asked, bool with_room) const;
  void forgive(Clock::time_point now);
  void leave(uint32_t file, uint32_t copy, uint32_t bytes);

  const uint32_t copies_;
  const uint32_t files_;
  const uint32_t depth_;
  std::vector<uint32_t> drive_of_;
  std::vector<Drive> drives_;
  std::array<CopyCounters, kCopiesMax>& counters_;
  size_t full_ = 0;  // drives
};

}  // namespace hypura::scheduler
