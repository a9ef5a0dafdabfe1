// Bounded queue of 64-bit words between two threads: one pushes, one pops, nobody waits.
//
// Allocates: in the constructor. A full queue refuses; what then happens is the caller's decision.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

namespace hypura::scheduler {

class SpscQueue {
 public:
  // Room for at least `capacity` words.
  explicit SpscQueue(uint32_t capacity)
      : words_(std::bit_ceil(capacity < 2 ? 2u : capacity)), mask_(words_.size() - 1) {}

  // Producer only. False when full.
  bool push(uint64_t word) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - tail_.load(std::memory_order_acquire) == words_.size()) return false;
    words_[head & mask_] = word;
    head_.store(head + 1, std::memory_order_release);  // pairs with the load in pop()
    return true;
  }
  // Consumer only. False when empty.
  bool pop(uint64_t& word) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == head_.load(std::memory_order_acquire)) return false;
    word = words_[tail & mask_];
    tail_.store(tail + 1, std::memory_order_release);  // pairs with the load in push()
    return true;
  }

 private:
  std::vector<uint64_t> words_;
  uint64_t mask_;
  alignas(64) std::atomic<uint64_t> head_{0};  // written by the producer
  alignas(64) std::atomic<uint64_t> tail_{0};  // written by the consumer
};

}  // namespace hypura::scheduler
