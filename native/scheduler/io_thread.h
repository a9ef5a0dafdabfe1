// The thread that owns the drive: keeps `depth` reads in flight, continues short ones, retries failed ones, never spins.
//
// The loop orders whole blocks (fetches); this thread cuts them into reads and serves them in the order demand, ring,
// guess, warm, so that a demand read is never behind another kind (invariant I6). At most kGuessReadsMax and kWarmReadsMax of
// the last two are in the kernel per drive, because a read that is there already cannot be overtaken; and a guess begins
// only while no demand read flies, because the drive would share itself between them.
//
// Each read goes to the copy that CopyRouter names. When it fails there the other copies are asked at once, from its
// first byte on; only when all of them have failed does that count as one try of the read.
//
// A fetch ends with exactly one last completion, and only then may its memory be used for something else:
//   kDone                       every byte of every extent was counted
//   kFailed, later kReturned    an error after its retries; the kernel may still write until kReturned
//   kReturned                   it was abandoned
// Short reads go on where they ended, realigned. Zero bytes before the extent's end, or an end that does not move in
// kSameEndMax tries, is the end of the file: kModelChanged. Errors are retried after 1, 10 and 100 ms beside the other
// reads, then kIo. EINTR, EAGAIN and ENOMEM only mean "not now" and are retried kBusyRetriesMax times. After kGoneFailures
// reads that ended in kIo within kGoneWindow the drive counts as gone, and errors are not retried until it has been quiet
// for that long.
// Threads: constructed, queried and destroyed by the loop's thread; the private half runs in the I/O thread.
// Allocates: in the constructor.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "native/base/status.h"
#include "native/nvme_io/io_backend.h"
#include "native/scheduler/copies.h"
#include "native/scheduler/copy_router.h"
#include "native/scheduler/doorbell.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/read_queue.h"

namespace hypura::scheduler {

inline constexpr uint32_t kWarmReadsMax = 2;
inline constexpr uint32_t kGuessReadsMax = 6;  // two experts' extents
// Not-now answers of the system, 1 to 16 ms apart: about one second until they count as an error.
inline constexpr uint32_t kBusyRetriesMax = 64;
// Reads in a row that end where the one before ended: a cut file does so always, a drive that is merely short does not.
inline constexpr uint32_t kSameEndMax = 16;
inline constexpr uint32_t kGoneFailures = 8;
inline constexpr std::chrono::seconds kGoneWindow{1};

struct IoFile {
  std::vector<int> fds;  // by copy
  std::string name;      // for messages: the last part of its path
};

// Read by any thread.
struct IoCounters {
  std::atomic<uint64_t>& read_bytes;
  std::atomic<uint64_t>& reads;
  std::atomic<uint64_t>& retries;
  std::array<CopyCounters, kCopiesMax>& copies;
};

enum class Completed : uint8_t { kDone, kFailed, kReturned };
struct Completion {
  uint32_t fetch = 0;
  Completed what = Completed::kDone;
};

class IoThread {
 public:
  // hulls outlives the thread; depth: 1 .. kIoDepthMax per drive, cut to what the backend can.
  IoThread(const BlockHulls& hulls, std::vector<IoFile> files,
           std::unique_ptr<nvme_io::IoBackend> backend, uint32_t depth, uint32_t fetches,
           IoCounters counters, const CopyLayout& copies = {});
  ~IoThread();  // issues nothing more; the backend's destructor waits for the reads that are in the kernel

  // --- token loop ---
  // Orders all reads of a block into `into`. False when the queue is full: nothing happened, try later.
  bool queue(uint32_t fetch, BlockId block, std::byte* into, ReadClass read_class);
  // True: the fetch had not begun and never will.
  bool drop(uint32_t fetch) { return queue_.drop(fetch); }
  // No further reads for a fetch that has begun; kReturned follows once the kernel is done with it.
  void abandon(uint32_t fetch);
  // A read-ahead or warm fetch is wanted now.
  void urge(uint32_t fetch);
  // Fetches from this number on are read from the first copy alone.
  void read_own_copy(uint32_t first_fetch) {
    own_copy_from_.store(first_fetch, std::memory_order_relaxed);
  }
  // Tells the thread about what was queued since the last kick.
  void kick();
  bool poll(Completion& completion);
  const FetchOutcome& outcome(uint32_t fetch) const { return queue_[fetch].outcome; }
  BlockId block(uint32_t fetch) const { return queue_[fetch].block; }
  // The error of a failed fetch as a sentence. Allocates.
  Status status_of(const FetchOutcome& outcome) const;
  Doorbell& bell() { return bell_; }
  uint32_t depth() const { return depth_; }

  // Completions that answered no read. Any thread.
  uint64_t strays() const { return strays_.load(std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;
  enum class FlightState : uint8_t { kIdle, kFlying, kWaiting };
  // One read, from its first submission to its last byte.
  struct Flight {
    FlightState state = FlightState::kIdle;
    ReadClass counted_as = ReadClass::kDemand;
    uint32_t generation = 0;
    uint32_t fetch = 0;
    uint32_t file = 0;
    uint32_t copy = 0;
    uint32_t asked = 0;  // copies that failed it since its last try began, as bits
    uint64_t offset_bytes = 0;
    std::byte* into = nullptr;
    uint32_t bytes = 0;
    uint32_t need_bytes = 0;
    uint32_t begin_bytes = 0;  // where the present submission begins, aligned
    uint32_t done_bytes = 0;   // from the read's begin, without a hole
    uint32_t retries = 0;
    uint32_t busy_retries = 0;
    uint32_t same_ends = 0;
    double expected_ns = 0;  // of the present submission
    Clock::time_point submitted_at;
    Clock::time_point due;
  };
  static constexpr uint32_t kNone = 0xffffffffu;
  enum class Routed : uint8_t { kGo, kWait, kOver };

  void run();
  void fill(Clock::time_point now);
  uint32_t next_flight(Clock::time_point now);
  uint32_t barred(const Flight& flight) const;
  Routed route(Flight& flight, Clock::time_point now);
  void submit(Clock::time_point now);
  void land_unwanted(Clock::time_point now);
  uint32_t due_flight(ReadClass read_class, Clock::time_point now) const;
  uint32_t issue(uint32_t fetch);
  void begin(uint32_t fetch, Clock::time_point now);
  ReadClass class_of(const Fetch& fetch) const;
  std::chrono::nanoseconds idle_time(Clock::time_point now) const;
  void arrived(const nvme_io::ReadDone& done, Clock::time_point now);
  void moved(Flight& flight, uint32_t bytes, Clock::time_point now);
  void busy(Flight& flight, int errno_value, Clock::time_point now);
  void failed_here(Flight& flight, Code code, int errno_value, Clock::time_point now);
  void begin_again(Flight& flight, Clock::time_point due);
  void retry(Flight& flight, int errno_value, Clock::time_point now);
  bool drive_gone(Clock::time_point now) const;
  void count_failure(Clock::time_point now);
  void fail(Flight& flight, Code code, int errno_value, Clock::time_point now);
  void park(Flight& flight, Clock::time_point due);
  void land(Flight& flight, Clock::time_point now);
  void cut(uint32_t fetch);
  void finish(uint32_t fetch, Clock::time_point now);
  void push(uint32_t fetch, Completed what);

  const BlockHulls& hulls_;
  const std::vector<IoFile> files_;
  const uint32_t drives_;
  const uint32_t depth_;        // of all drives together
  const uint32_t piece_bytes_;  // longest read
  IoCounters counters_;
  ReadQueue queue_;
  SpscQueue completions_;  // fetch << 2 | what; two per fetch at most, so it cannot be full
  Doorbell bell_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> strays_{0};
  std::atomic<uint32_t> own_copy_from_{kNone};
  bool queued_since_kick_ = false;  // token loop

  // I/O thread only.
  std::unique_ptr<nvme_io::IoBackend> backend_;
  CopyRouter router_;
  std::vector<Flight> flights_;
  std::vector<uint32_t> free_flights_;
  std::vector<nvme_io::Read> batch_;
  std::vector<nvme_io::ReadDone> done_;
  std::array<uint32_t, kReadClasses> begun_{kNone, kNone, kNone, kNone};  // fetches with reads left to issue
  std::array<uint32_t, kReadClasses> flying_by_class_{};
  uint32_t flying_ = 0;
  uint32_t waiting_ = 0;
  std::array<Clock::time_point, kGoneFailures> failures_{};  // the latest, circular
  uint32_t failures_at_ = 0;                                 // the oldest of them
  bool pushed_ = false;
  bool blocked_ = false;  // a read waits for its drive while others have room

  std::thread thread_;  // last: it sees everything above
};

}  // namespace hypura::scheduler
