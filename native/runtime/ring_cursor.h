// Positions of a bounded ring with one producer and one consumer; the memory of its slots is somebody else's.
//
// Holds always: 0 <= written - read <= capacity. A slot is written before publish() and read before consume().
// Thread: publish() and what it needs by the producer, consume() likewise by the consumer; clear() while both are idle.
#pragma once

#include <atomic>
#include <cstdint>

namespace hypura::runtime {

class RingCursor {
 public:
  explicit RingCursor(uint32_t capacity) : capacity_(capacity) {}

  // Exact for the side that calls; the other side may have made more of it meanwhile.
  uint32_t used() const {
    return static_cast<uint32_t>(written_.load(std::memory_order_acquire) -
                                 read_.load(std::memory_order_acquire));
  }
  uint32_t free() const { return capacity_ - used(); }

  uint32_t write_slot() const {
    return static_cast<uint32_t>(written_.load(std::memory_order_relaxed) % capacity_);
  }
  uint32_t read_slot() const {
    return static_cast<uint32_t>(read_.load(std::memory_order_relaxed) % capacity_);
  }
  void publish() {
    written_.fetch_add(1, std::memory_order_release);
  }  // pairs with used() of the consumer
  void consume() {
    read_.fetch_add(1, std::memory_order_release);
  }  // pairs with used() of the producer
  void clear() {
    written_.store(0, std::memory_order_relaxed);
    read_.store(0, std::memory_order_relaxed);
  }

 private:
  const uint32_t capacity_;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> read_{0};
};

}  // namespace hypura::runtime
