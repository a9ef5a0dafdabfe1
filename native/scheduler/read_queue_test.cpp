// What could break: a fetch that is both dropped and read, or neither; a queue entry of a dropped fetch that claims the next
// order for the same slot, which would then overtake its class.
#include "native/scheduler/read_queue.h"

#include <thread>
#include <vector>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

TEST(read_queue_entry_of_a_dropped_fetch_does_not_claim_its_successor) {
  ReadQueue queue(2);
  uint32_t fetch = 9;
  EXPECT(queue.queue(0, BlockId{5}, nullptr, ReadClass::kWarm));
  EXPECT(queue.drop(0));
  EXPECT(!queue.drop(0));
  EXPECT(queue.queue(0, BlockId{6}, nullptr, ReadClass::kRing));
  EXPECT(!queue.claim(ReadClass::kDemand, fetch));
  EXPECT(!queue.claim(ReadClass::kWarm, fetch));
  EXPECT(queue.claim(ReadClass::kRing, fetch));
  EXPECT_EQ(fetch, 0u);
  EXPECT(queue[0].block == BlockId{6});
  EXPECT(!queue.drop(0) && !queue.idle(0));
  queue.retire(0);
  EXPECT(queue.idle(0));
}

TEST(read_queue_refuses_when_entries_pile_up) {
  ReadQueue queue(2);
  uint32_t taken = 0, fetch = 0;
  while (queue.queue(1, BlockId{1}, nullptr, ReadClass::kWarm)) {
    EXPECT(queue.drop(1));
    ASSERT(++taken < 100);
  }
  EXPECT(queue.idle(1));
  EXPECT(queue.queue(1, BlockId{1}, nullptr, ReadClass::kRing));  // the other queues have room
  EXPECT(queue.drop(1));
  EXPECT(!queue.claim(ReadClass::kWarm, fetch));
  EXPECT(queue.queue(1, BlockId{1}, nullptr, ReadClass::kWarm));
}

TEST(read_queue_fetch_is_claimed_or_dropped_but_never_both) {
  constexpr uint32_t kFetches = 32, kRounds = 2000;
  ReadQueue queue(kFetches);
  SpscQueue claimed(kFetches);
  std::atomic<bool> over{false};
  std::thread io([&] {
    while (!over.load()) {
      uint32_t fetch = 0;
      if (queue.claim(ReadClass::kDemand, fetch))
        claimed.push(fetch);
      else
        std::this_thread::yield();
    }
  });
  uint64_t queued = 0, dropped = 0, came = 0;
  for (uint32_t round = 0; round < kRounds || came == 0; ++round) {
    if (round % 4 == 0) std::this_thread::yield();
    for (uint32_t fetch = 0; fetch < kFetches; ++fetch)
      if (queue.idle(fetch) && queue.queue(fetch, BlockId{fetch}, nullptr, ReadClass::kDemand)) ++queued;
    for (uint32_t fetch = round % 3; fetch < kFetches; fetch += 3) dropped += queue.drop(fetch);
    for (uint64_t fetch = 0; claimed.pop(fetch); ++came) queue.retire(static_cast<uint32_t>(fetch));
  }
  for (uint32_t fetch = 0; fetch < kFetches; ++fetch) dropped += queue.drop(fetch);
  over = true;
  io.join();
  for (uint64_t fetch = 0; claimed.pop(fetch); ++came) queue.retire(static_cast<uint32_t>(fetch));
  EXPECT_EQ(queued, dropped + came);
  EXPECT(dropped > 0 && came > 0);
}

}  // namespace
}  // namespace hypura::scheduler
