// What could break: a resize that takes memory from under a lease or a read, a band whose bytes are gone or stale after it came
// back, a hole over live bytes, a cache that hangs or is broken after a fill that failed, more placed than the division says.
// How we notice: the decoder of test_cache.h compares every leased byte with the file, between random divisions and faults.
#include <algorithm>
#include <thread>

#include "native/scheduler/block_cache.h"
#include "native/scheduler/test_cache.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;
using Walk = CacheBench::Walk;

constexpr uint64_t kPage = 4096;

CacheShape random_shape(std::mt19937_64& random) {
  const auto below = [&](uint64_t limit) { return static_cast<uint32_t>(random() % limit); };
  CacheShape shape;
  shape.model = {.trunks = below(3),
                 .bands = 4 + below(30),
                 .head_bands = below(3),
                 .row_bands = 1 + below(8),
                 .experts = below(3) ? 4 + below(30) : 0,
                 .files = 1 + below(2),
                 .band_bytes_max = below(2) ? 10'000u : 60'000u};
  shape.pin_count = below(3) ? shape.model.bands : below(shape.model.bands + 1);
  shape.ring_bytes = shape.pin_count < shape.model.bands ? below(600'000) : 0;
  shape.pool_slots = 2 + below(20);
  shape.row_slots = 1 + below(4);
  shape.io_depth = 1 + below(8);
  return shape;
}

uint64_t stack_bytes(const CacheBench& bench, uint32_t bands) {
  uint64_t sum = 0;
  for (uint32_t rank = 0; rank < bands; ++rank)
    sum += bench.hulls->slot_bytes(bench.model.pin_order[rank]);
  return sum;
}

uint64_t largest_from(const CacheBench& bench, uint32_t rank) {
  uint64_t most = 0;
  for (; rank < bench.model.pin_order.size(); ++rank)
    most = std::max(most, bench.hulls->slot_bytes(bench.model.pin_order[rank]));
  return most;
}

CacheDivision as_loaded(const CacheBench& bench) {
  return {.pin_count = bench.sizes.pin_count,
          .pool_slots = bench.sizes.pool_slots,
          .ring_bytes = bench.sizes.ring_bytes};
}

// One that the regions can hold.
CacheDivision random_division(CacheBench& bench) {
  CacheDivision division = as_loaded(bench);
  if (division.pool_slots > 2) division.pool_slots = 2 + bench.below(division.pool_slots - 1);
  division.pin_count = bench.below(3) ? bench.below(division.pin_count + 1) : division.pin_count;
  if (division.pin_count == bench.sizes.pin_count) return division;
  if (bench.sizes.ring_bytes > 0)
    return largest_from(bench, division.pin_count) <= bench.sizes.ring_bytes ? division
                                                                            : as_loaded(bench);
  const uint64_t least = largest_from(bench, 0);
  const uint64_t most = bench.sizes.pinned_bytes - stack_bytes(bench, division.pin_count);
  if (most < least) return as_loaded(bench);
  division.ring_bytes = least + bench.below((most - least) / kPage + 1) * kPage;
  return division;
}

// Steps until the division is in force, or an error says that it will not be.
Status resize_to(CacheBench& bench, const CacheDivision& division) {
  HYPURA_TRY(bench.cache->set_division(division));
  while (true) {
    HYPURA_TRY_ASSIGN(const ResizeProgress progress, bench.cache->resize_step());
    if (progress == ResizeProgress::kDone) return {};
    if (progress == ResizeProgress::kWaits) std::this_thread::sleep_for(50us);
  }
}

// Until a sweep may begin.
void step_until_sweepable(CacheBench& bench) {
  while (!bench.cache->sweepable()) {
    (void)bench.cache->resize_step();
    std::this_thread::sleep_for(50us);
  }
}

bool same(const CacheDivision& a, const CacheDivision& b) {
  return a.pin_count == b.pin_count && a.pool_slots == b.pool_slots &&
         a.ring_bytes == b.ring_bytes;
}

Walk random_walk(CacheBench& bench) {
  return {.with_head = bench.below(3) > 0,
          .next_with_head = bench.below(3) > 0,
          .prefill = bench.below(3) == 0,
          .skip_percent = bench.below(3) ? 0u : 20u,
          .back_percent = bench.below(6) ? 0u : 5u,
          .stop_percent = bench.below(5) ? 0u : 5u,
          .run_max = 1 + bench.below(70),
          .experts_max = 1 + bench.below(40)};
}

TEST(resize_between_any_two_sweeps_changes_no_byte) {
  const Watchdog watchdog("any resize", 200s);
  uint32_t without_ring = 0, unfinished = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    CacheBench bench(random_shape(random), seed);
    bench.drive.faults.reorder = seed % 2 == 0;
    ASSERT(bench.cache && bench.load());
    for (int i = 0; i < 16; ++i) {
      if (bench.below(3) == 0) bench.new_plan();
      const CacheDivision target = random_division(bench);
      if (bench.sizes.ring_bytes == 0 && target.ring_bytes > 0) ++without_ring;
      if (bench.below(2)) {
        EXPECT_OK(resize_to(bench, target));
        EXPECT(same(bench.cache->division(), target));
        EXPECT_EQ(bench.cache->counters().placed_bytes.load(), bench.cache->division_bytes(target));
      } else {
        // On its way while sweeps go on; the next round asks for something else.
        EXPECT_OK(bench.cache->set_division(target));
        for (uint32_t step = bench.below(4); step > 0; --step) {
          EXPECT_OK(bench.cache->resize_step().status());
        }
        step_until_sweepable(bench);
        if (!same(bench.cache->division(), target)) ++unfinished;
      }
      const Status status = bench.sweep(random_walk(bench));
      if (!status.ok()) std::cerr << "  seed " << seed << ": " << status.message() << "\n";
      EXPECT(status.ok());
    }
  }
  EXPECT(without_ring > 40);
  EXPECT(unfinished > 40);
}

TEST(resize_that_meets_faults_leaves_a_cache_that_works) {
  const Watchdog watchdog("resize under faults", 200s);
  uint32_t errors = 0;
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    std::mt19937_64 random(2000 + seed);
    CacheBench bench(random_shape(random), seed);
    ASSERT(bench.cache && bench.load());
    for (int i = 0; i < 4; ++i) {
      EXPECT_OK(resize_to(bench, random_division(bench)));
      const CacheDivision before = bench.cache->division();
      bench.drive.change([&](DriveFaults& f) {
        f.error_percent = 50, f.short_percent = 20, f.busy_percent = 5, f.reorder = true;
      });
      const Status status = resize_to(bench, as_loaded(bench));
      if (!status.ok()) {
        ++errors;
        EXPECT(status.code() == Code::kIo);
        // Never less than there was, and what is in force is what is placed.
        EXPECT(bench.cache->division().pin_count >= before.pin_count);
        EXPECT_EQ(bench.cache->counters().placed_bytes.load(),
                  bench.cache->division_bytes(bench.cache->division()));
      }
      bench.drive.change([](DriveFaults& f) { f = {.alignment_bytes = f.alignment_bytes}; });
      step_until_sweepable(bench);
      EXPECT_OK(bench.sweep(random_walk(bench)));
    }
    EXPECT_OK(resize_to(bench, as_loaded(bench)));
    EXPECT_OK(bench.sweep(random_walk(bench)));
  }
  EXPECT(errors > 8);
}

// A dense model, all in memory, loses half of its bands and streams them: what a sweep reads is what left.
TEST(resize_of_a_resident_model_gives_memory_back_and_streams_what_left) {
  const Watchdog watchdog("resident", 60s);
  CacheBench bench({.model = {.bands = 40, .head_bands = 0, .row_bands = 1, .experts = 0, .band_bytes_max = 200'000},
                    .pin_count = 40},
                   7);
  ASSERT(bench.cache && bench.load());
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(bench.cache->counters().given_back_bytes.load(), 0u);
  CacheDivision half = as_loaded(bench);
  half.pin_count = 20;
  half.ring_bytes = 2 * align_up(largest_from(bench, 20), kPage);
  EXPECT_OK(resize_to(bench, half));
  const uint64_t hole = bench.sizes.pinned_bytes - stack_bytes(bench, 20) - half.ring_bytes;
  EXPECT_EQ(bench.cache->counters().given_back_bytes.load(), hole);
  for (int i = 0; i < 3; ++i) EXPECT_OK(bench.sweep({}));
  const uint64_t before = bench.cache->counters().misses.load();
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(bench.cache->counters().misses.load() - before, 20u);

  EXPECT_OK(resize_to(bench, as_loaded(bench)));
  EXPECT_EQ(bench.cache->counters().given_back_bytes.load(), 0u);
  const uint64_t reads = bench.cache->counters().reads.load();
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(bench.cache->counters().reads.load(), reads);
}

TEST(resize_refuses_divisions_that_the_regions_cannot_hold) {
  CacheBench bench({.model = {.bands = 12, .experts = 8}, .pin_count = 12, .pool_slots = 6}, 3);
  ASSERT(bench.cache && bench.load());
  const uint64_t ring = align_up(largest_from(bench, 0), kPage);
  const CacheDivision loaded = as_loaded(bench);
  const std::vector<CacheDivision> wrong = {
      {.pin_count = 13, .pool_slots = 6, .ring_bytes = 0},
      {.pin_count = 12, .pool_slots = 7, .ring_bytes = 0},
      {.pin_count = 12, .pool_slots = 1, .ring_bytes = 0},
      {.pin_count = 0, .pool_slots = 6, .ring_bytes = 0},           // bands stream, and no ring
      {.pin_count = 0, .pool_slots = 6, .ring_bytes = ring - 1},    // no whole pages
      {.pin_count = 0, .pool_slots = 6, .ring_bytes = kPage},       // larger bands than that
      {.pin_count = 12, .pool_slots = 6, .ring_bytes = ring},       // no room behind the bands
      {.pin_count = 0, .pool_slots = 6, .ring_bytes = ~uint64_t{4095}},
  };
  for (const CacheDivision& division : wrong) {
    const Status status = bench.cache->set_division(division);
    EXPECT(status.code() == Code::kInvalidArgument);
    EXPECT(bench.cache->division_bytes(division) == ~uint64_t{0});
  }
  EXPECT(same(bench.cache->division(), loaded));
  EXPECT_OK(resize_to(bench, {.pin_count = 0, .pool_slots = 2, .ring_bytes = ring}));
  EXPECT_OK(bench.sweep({.experts_max = 8}));

  auto fixed = BlockCache::create_fixed(bench.table, {bench.model.files[0].data()});
  EXPECT(fixed->set_division(loaded).code() == Code::kUnsupported);
  EXPECT(fixed->sweepable());
}

}  // namespace
}  // namespace hypura::scheduler
