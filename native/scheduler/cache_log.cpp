#include "native/scheduler/cache_log.h"

#include <algorithm>

namespace hypura::scheduler {
namespace {

constexpr uint16_t kNoLayer = 0xffff;

uint32_t saturated(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, 0xffffffffu));
}
void add(std::atomic<uint64_t>& counter, uint64_t amount) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

}  // namespace

Event CacheLog::event(EventKind kind, BlockId block) const {
  Event event{};
  event.time_ns = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count());
  event.sweep = sweep_;
  event.layer = block == kNoBlock ? kNoLayer : hulls_.table()[block].layer;
  event.kind = kind;
  event.count = 1;
  event.words[0] = index_of(block);
  return event;
}

void CacheLog::used(BlockId block, bool hit) {
  if (counted_in_[index_of(block)] == serial_) return;
  counted_in_[index_of(block)] = serial_;
  const uint64_t bytes = hulls_.hull_bytes(block);
  add(hit ? counters.hits : counters.misses, 1);
  add(hit ? counters.hit_bytes : counters.miss_bytes, bytes);
}

void CacheLog::read(BlockId block, const FetchOutcome& outcome) {
  Event done = event(EventKind::kRead, block);
  done.words[1] = saturated(hulls_.hull_bytes(block));
  done.words[2] = saturated(outcome.nanoseconds / 1000);
  done.words[3] = outcome.retries;
  events_.push(done);
}

void CacheLog::failed(BlockId block, const FetchOutcome& outcome) {
  Event fault = event(EventKind::kFault, block);
  fault.words[0] = static_cast<uint32_t>(outcome.errno_value);
  fault.words[1] = outcome.file;
  fault.words[2] = static_cast<uint32_t>(outcome.offset_bytes);
  fault.words[3] = static_cast<uint32_t>(outcome.offset_bytes >> 32);
  events_.push(fault);
}

void CacheLog::guessed(GuessMode mode, GuessSource source, const GuessScore& score) {
  add(counters.guessed, score.guessed);
  add(counters.guessed_correctly, score.correct);
  add(counters.guess_asked, score.asked);
  Event guess = event(EventKind::kGuess, kNoBlock);
  guess.count = static_cast<uint8_t>(mode);
  guess.words[0] = score.guessed << 16 | score.correct;
  guess.words[1] = score.asked << 16 | score.absent;
  guess.words[2] = score.correct_absent;
  guess.words[3] = static_cast<uint32_t>(source);
  events_.push(guess);
}

void CacheLog::read_ahead(uint64_t bytes, bool used) {
  add(counters.guess_read_bytes, bytes);
  if (used) add(counters.guess_used_bytes, bytes);
}

void CacheLog::evicted(const SlotPool::Taken& taken, BlockId replaced_by) {
  add(counters.evictions, 1);
  Event evict = event(EventKind::kEvict, taken.evicted);
  evict.words[1] = index_of(replaced_by);
  evict.floats[2] = static_cast<float>(taken.priority);
  evict.words[3] = sweep_ - taken.last_used;
  events_.push(evict);
}

void CacheLog::stalled(BlockId block, Clock::time_point since, StallCause cause) {
  const auto nanoseconds = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - since).count());
  add(counters.stall_ns, nanoseconds);
  Event stall = event(EventKind::kStall, block);
  stall.words[1] = saturated(nanoseconds / 1000);
  stall.words[2] = block == kNoBlock ? 0 : saturated(hulls_.hull_bytes(block));
  stall.words[3] = static_cast<uint32_t>(cause);
  events_.push(stall);
}

}  // namespace hypura::scheduler
