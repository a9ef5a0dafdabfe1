#include "native/scheduler/read_queue.h"

#include "native/base/check.h"

namespace hypura::scheduler {
namespace {

constexpr uint32_t kIdle = 0, kQueued = 1, kClaimed = 2, kStateMask = 3;
constexpr uint32_t kGenerationStep = 4;

}  // namespace

// Entries of dropped fetches stay in the queue until the I/O thread meets them, hence twice the room.
ReadQueue::ReadQueue(uint32_t fetches)
    : size_(fetches),
      fetches_(std::make_unique<Fetch[]>(fetches)),
      queues_{SpscQueue(2 * fetches), SpscQueue(2 * fetches), SpscQueue(2 * fetches),
              SpscQueue(2 * fetches)} {}

bool ReadQueue::queue(uint32_t fetch, BlockId block, std::byte* into, ReadClass read_class) {
  Fetch& order = fetches_[fetch];
  const uint32_t word = order.word.load(std::memory_order_relaxed);
  CHECK((word & kStateMask) == kIdle);
  const uint32_t queued = ((word & ~kStateMask) + kGenerationStep) | kQueued;
  order.block = block;
  order.into = into;
  order.read_class = read_class;
  order.urgent.store(false, std::memory_order_relaxed);
  order.abandoned.store(false, std::memory_order_relaxed);
  order.word.store(queued, std::memory_order_release);  // pairs with the exchange in claim()
  if (queues_[static_cast<uint32_t>(read_class)].push(uint64_t{queued} << 32 | fetch)) return true;
  order.word.store(queued & ~kStateMask, std::memory_order_relaxed);
  return false;
}

bool ReadQueue::drop(uint32_t fetch) {
  std::atomic<uint32_t>& word = fetches_[fetch].word;
  uint32_t seen = word.load(std::memory_order_relaxed);
  return (seen & kStateMask) == kQueued &&
         word.compare_exchange_strong(seen, seen & ~kStateMask, std::memory_order_acq_rel);
}

void ReadQueue::retire(uint32_t fetch) {
  std::atomic<uint32_t>& word = fetches_[fetch].word;
  const uint32_t seen = word.load(std::memory_order_relaxed);
  CHECK((seen & kStateMask) == kClaimed);
  word.store(seen & ~kStateMask, std::memory_order_relaxed);
}

bool ReadQueue::idle(uint32_t fetch) const {
  return (fetches_[fetch].word.load(std::memory_order_relaxed) & kStateMask) == kIdle;
}

bool ReadQueue::claim(ReadClass read_class, uint32_t& fetch) {
  uint64_t entry = 0;
  while (queues_[static_cast<uint32_t>(read_class)].pop(entry)) {
    auto queued = static_cast<uint32_t>(entry >> 32);
    fetch = static_cast<uint32_t>(entry);
    if (fetches_[fetch].word.compare_exchange_strong(
            queued, (queued & ~kStateMask) | kClaimed, std::memory_order_acq_rel))
      return true;
  }
  return false;
}

}  // namespace hypura::scheduler
