// How one thread sleeps until another has something for it: a counter to compare, and a condition variable to sleep on.
//
//   const uint64_t heard = bell.rings();   // before looking for work
//   if (!found_work()) bell.wait(heard, 10ms);
// A ring between the two lines is not lost: the counter has moved and wait() returns at once. The mutex covers the counter
// and nothing else, so it is never held across work. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace hypura::scheduler {

class Doorbell {
 public:
  void ring() {
    {
      const std::lock_guard lock(mutex_);
      ++rings_;
    }
    rung_.notify_one();
  }
  uint64_t rings() {
    const std::lock_guard lock(mutex_);
    return rings_;
  }
  // Until the count differs from `heard` or `timeout` is over.
  void wait(uint64_t heard, std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    rung_.wait_for(lock, timeout, [&] { return rings_ != heard; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable rung_;
  uint64_t rings_ = 0;  // guarded by mutex_
};

}  // namespace hypura::scheduler
