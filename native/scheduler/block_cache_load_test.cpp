// What could break: loading reads experts that nobody warmed, or more than there are slots for; one bad expert that was only
// warmed ends it, or a cancel does not. The cache says what is there; each read of a load fails once per run.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/nvme_io/fault_io.h"
#include "native/scheduler/test_cache.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;

TEST(cache_load_can_be_cancelled_and_fails_with_the_drive) {
  const Watchdog watchdog("load", 60s);
  {
    CacheBench bench({.model = {.bands = 30, .row_bands = 0}, .pin_count = 30}, 2);
    bench.drive.change([](DriveFaults& f) { f.stalled = true; });
    const std::atomic<bool> cancelled{true};
    EXPECT(bench.cache->load(bench.plan, cancelled).code() == Code::kCancelled);
  }
  CacheBench bench({.model = {.bands = 30, .row_bands = 0}, .pin_count = 30}, 2);
  bench.drive.change([](DriveFaults& f) { f.error_always = true; });
  const std::atomic<bool> never{false};
  EXPECT(bench.cache->load(bench.plan, never).code() == Code::kIo);
}

TEST(cache_load_reads_what_the_plan_warms_as_far_as_there_are_slots) {
  const Watchdog watchdog("warm load", 60s);
  const CacheShape shape{.model = {.bands = 4, .row_bands = 0, .experts = 12}, .pin_count = 4, .pool_slots = 6};
  CacheBench bench(shape, 4);
  const std::vector<BlockId>& experts = bench.model.experts;
  bench.plan.score.assign(bench.table.size(), 1.0f);
  bench.plan.score[index_of(experts[9])] = 0.5f;
  // Named twice counts once; what comes behind the last slot is left out.
  for (const uint32_t i : {7u, 9u, 7u, 1u, 2u, 3u, 4u, 5u}) bench.plan.warm.push_back(experts[i]);
  ASSERT(bench.load());
  for (uint32_t i = 0; i < experts.size(); ++i) {
    const bool expected = i == 7 || i == 9 || (i >= 1 && i <= 4);
    EXPECT(bench.cache->has_expert(experts[i]) == expected);
  }
  EXPECT_EQ(bench.cache->counters().hits.load(), 0u);
  EXPECT_OK(bench.sweep({.experts_max = 3}));
}

TEST(cache_load_leaves_out_a_warmed_expert_that_cannot_be_read) {
  const Watchdog watchdog("warm load", 60s);
  const CacheShape shape{.model = {.bands = 2, .row_bands = 0, .experts = 8}, .pin_count = 2, .pool_slots = 4};
  uint32_t failed = 0;
  for (uint32_t k = 0; k < 12; ++k) {
    auto schedule = nvme_io::FaultSchedule::parse("eio:at=" + std::to_string(k) + ":forever:" + std::to_string(k));
    ASSERT(schedule.ok());
    Drive drive(k);
    CacheBench bench(shape, 5, std::make_unique<nvme_io::FaultIo>(std::make_unique<FakeIo>(drive, shape.io_depth),
                                                                  std::move(schedule).value()));
    for (const auto& file : bench.drive.files) drive.files.push_back(file);
    for (const uint32_t i : {6u, 3u, 5u}) bench.plan.warm.push_back(bench.model.experts[i]);
    const std::atomic<bool> never{false};
    const Status status = bench.cache->load(bench.plan, never);
    uint32_t here = 0;
    for (const BlockId expert : bench.model.experts) here += bench.cache->has_expert(expert);
    if (!status.ok()) {
      EXPECT(status.code() == Code::kIo);  // of a block that every sweep needs
    } else if (here < 3) {
      ++failed;
      EXPECT(here > 0);  // neighbours share the page that is bad
    }
  }
  EXPECT(failed > 0);
}

}  // namespace
}  // namespace hypura::scheduler
