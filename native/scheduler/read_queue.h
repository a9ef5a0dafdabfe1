// Orders for blocks on their way from the token loop to the I/O thread: one Fetch per slot, one queue per class.
//
// A queued fetch can be dropped again: loop and I/O thread race for its state word by compare-and-swap, and whoever wins
// owns it. The word carries a generation, so a queue entry left behind by a dropped fetch never claims its successor.
//   idle --queue--> queued --claim (I/O thread)--> claimed --last completion polled--> idle
//                   queued --drop (loop)--> idle
// Threads: as each function says.   Allocates: in the constructor.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/scheduler/spsc_queue.h"

namespace hypura::scheduler {

// In the order in which the I/O thread serves them.
enum class ReadClass : uint8_t {
  kDemand = 0,  // the loop waits for it, or is about to
  kRing = 1,    // read-ahead in execution order: certain to be needed
  kGuess = 2,   // probably needed by the next layer
  kWarm = 3,    // idle time: may be needed
};
inline constexpr uint32_t kReadClasses = 4;

// What became of a fetch. Written by the I/O thread before it pushes the completion, then left alone.
struct FetchOutcome {
  Code code = Code::kOk;
  int errno_value = 0;
  uint32_t file = 0;          // the read that failed: its file, place and length
  uint64_t offset_bytes = 0;
  uint32_t bytes = 0;
  uint32_t retries = 0;
  uint64_t nanoseconds = 0;   // from claim to completion
};

struct Fetch {
  // Written by the loop before it queues, read by the I/O thread after it claimed.
  BlockId block = kNoBlock;
  std::byte* into = nullptr;
  ReadClass read_class = ReadClass::kDemand;

  std::atomic<uint32_t> word{0};         // generation << 2 | state
  std::atomic<bool> urgent{false};       // loop: serve as demand from here on
  std::atomic<bool> abandoned{false};    // loop: nobody waits, issue no further reads

  // I/O thread only, from claim to the last completion.
  uint32_t extent = 0;             // next piece: extent, place in the slot, place in its hull
  uint64_t placed_bytes = 0;
  uint64_t hull_begin_bytes = 0;
  uint32_t outstanding = 0;        // reads in the kernel or waiting for a retry
  uint64_t counted_bytes = 0;      // bytes of finished pieces that had to come back (invariant I2)
  uint32_t retries = 0;
  bool issued_all = false;
  bool cut = false;                // ends before its last byte: failed or abandoned
  std::chrono::steady_clock::time_point claimed_at;

  FetchOutcome outcome;
};

class ReadQueue {
 public:
  explicit ReadQueue(uint32_t fetches);

  uint32_t size() const { return size_; }
  Fetch& operator[](uint32_t fetch) { return fetches_[fetch]; }
  const Fetch& operator[](uint32_t fetch) const { return fetches_[fetch]; }

  // Loop. The fetch must be idle. False when the queue of that class is full: nothing happened.
  bool queue(uint32_t fetch, BlockId block, std::byte* into, ReadClass read_class);
  // Loop. True: the fetch was still queued and is idle again, its memory untouched.
  bool drop(uint32_t fetch);
  // Loop, after the last completion of a claimed fetch was polled.
  void retire(uint32_t fetch);
  // Loop, for checks: neither queued nor claimed.
  bool idle(uint32_t fetch) const;

  // I/O thread. The next fetch of a class that was not dropped, claimed; nothing when there is none.
  bool claim(ReadClass read_class, uint32_t& fetch);

 private:
  uint32_t size_;
  std::unique_ptr<Fetch[]> fetches_;
  std::array<SpscQueue, kReadClasses> queues_;  // generation << 32 | fetch
};

}  // namespace hypura::scheduler
