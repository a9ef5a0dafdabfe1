// A drive that fails on demand, in front of any backend: the seam at which every fault test of hypura is made.
//
// What happens to which read is a FaultSchedule (its header has the grammar). The schedule counts reads in the order of
// submission, so the same seed and the same requests give the same failure.
// A delayed or stalled read is not given to the drive before its time: its bytes arrive late, as from a slow drive, and
// overwrite whatever was put into a buffer that was reused too early.
//
// It also watches its caller and remembers the first violation: a buffer in two outstanding reads, an address, offset or
// length out of alignment, a missing or too long buffer, a read after close(). Such a read ends with -EINVAL or -ECANCELED
// and is not made.
// Thread: as IoBackend; release_stalled(), close(), violation() and counters() by any thread.
// Allocates: in the constructor; and for the sentence of a violation.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "native/nvme_io/fault_schedule.h"
#include "native/nvme_io/io_backend.h"

namespace hypura::nvme_io {

// Sectors of every drive are multiples of this, so a direct read that keeps no such alignment is wrong everywhere.
inline constexpr uint32_t kSectorBytes = 512;

class FaultIo final : public IoBackend {
 public:
  // alignment_bytes: what address, offset and length of each read must be a multiple of; 1 to allow any.
  FaultIo(std::unique_ptr<IoBackend> inner, FaultSchedule schedule,
          uint32_t alignment_bytes = kSectorBytes);
  // Waits for reads that the drive has; those not yet given to it (delayed, stalled) are dropped.
  ~FaultIo() override;

  Capabilities capabilities() const override;
  uint32_t submit(std::span<const Read> reads) override;
  uint32_t reap(std::span<ReadDone> done, std::chrono::nanoseconds wait) override;
  void wake() override;

  // Lets every read that stalls at this moment begin.
  void release_stalled();
  // From here on a read is a violation.
  void close();
  // The first one; ok when there was none.
  Status violation() const;

  struct Counters {
    uint64_t reads = 0;                            // submitted
    std::array<uint64_t, kFaultModes> faults{};    // rules that acted, by FaultMode
  };
  Counters counters() const;

 private:
  using Clock = std::chrono::steady_clock;
  enum class Place : uint8_t { kFree, kHeldBack, kInDrive, kLate, kDone };
  // One read, from submit() until its last completion was handed out. The inner backend sees its index as tag.
  struct Slot {
    Place place = Place::kFree;
    Read read;
    Faults faults;
    uint64_t order = 0;        // shuffles the late ones
    Clock::time_point due{};   // kHeldBack
    uint64_t stalled_at = 0;   // kHeldBack: releases_ when it was submitted
    int32_t result = 0;        // kLate, kDone
  };

  // What a violation ends with; empty when there is none.
  std::optional<int32_t> watch(const Read& read);
  void violate(const std::string& what);
  void begin(Slot& slot);
  void begin_due(Clock::time_point now);
  void end(Slot& slot, int32_t result);
  void end_late_ones();
  uint32_t hand_out(std::span<ReadDone> done);
  uint32_t count(Place place) const;

  std::unique_ptr<IoBackend> inner_;
  FaultSchedule schedule_;
  const uint32_t alignment_bytes_;
  std::vector<Slot> slots_;                 // depth of the inner backend
  std::vector<uint32_t> done_;              // slots in kDone, in the order of their end
  std::atomic<uint64_t> releases_{0};       // calls of release_stalled()
  std::atomic<bool> woken_{false};
  std::atomic<bool> closed_{false};
  mutable std::mutex mutex_;
  Status violation_;                        // guarded by mutex_
  Counters counters_;                       // guarded by mutex_
};

}  // namespace hypura::nvme_io
