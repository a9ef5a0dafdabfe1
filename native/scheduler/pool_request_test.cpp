// What else is ready, for those who compute several experts together. Could break: an expert is named that is not there
// (the caller would wait with leases in hand), or is named while a read has no slot (leases would hold the drive up), or
// another one is handed out than was named.
#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "native/base/testing.h"
#include "native/scheduler/test_cache.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;

TEST(request_names_another_expert_only_while_one_is_there) {
  const Watchdog watchdog("another", 60s);
  CacheBench bench({.model = {.bands = 4, .row_bands = 0, .experts = 8}, .pool_slots = 6}, 3);
  ASSERT(bench.cache && bench.load());
  bench.cache->begin_sweep(bench.plan, {.number = 1});
  EXPECT(!bench.cache->another_expert());  // nothing is asked for
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  EXPECT_OK(bench.cache->request(std::span(bench.model.experts).first(4)));
  EXPECT(!bench.cache->another_expert());  // nothing has arrived
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  std::vector<BlockLease> held;
  while (held.size() < 4) {
    const auto named = bench.cache->another_expert();
    auto lease = bench.cache->next_expert();
    ASSERT(lease.ok() && lease.value());
    if (named) EXPECT(lease.value()->block() == *named);
    held.push_back(std::move(*lease.value()));
  }
  EXPECT(!bench.cache->another_expert());  // all were handed out
  held.clear();
  // All of them are here now: one after the other is named at once.
  EXPECT_OK(bench.cache->request(std::span(bench.model.experts).first(4)));
  for (int i = 0; i < 4; ++i) {
    const auto named = bench.cache->another_expert();
    ASSERT(named);
    EXPECT(bench.cache->next_expert().value()->block() == *named);
  }
  EXPECT(!bench.cache->another_expert());
  bench.cache->end_sweep();
}

TEST(request_names_no_other_expert_while_a_read_waits_for_a_slot) {
  const Watchdog watchdog("another", 60s);
  CacheBench bench({.model = {.bands = 4, .row_bands = 0, .experts = 8}, .pool_slots = 3}, 3);
  ASSERT(bench.cache && bench.load());
  bench.cache->begin_sweep(bench.plan, {.number = 1});
  EXPECT_OK(bench.cache->request(std::span(bench.model.experts).first(8)));
  for (uint32_t left = 8; left > 0; --left) {
    auto lease = bench.cache->next_expert();
    ASSERT(lease.ok() && lease.value());
    // Three slots: from the fourth expert before the end on, those left may all have one.
    if (left > 3) EXPECT(!bench.cache->another_expert());
  }
  bench.cache->end_sweep();
}

}  // namespace
}  // namespace hypura::scheduler
