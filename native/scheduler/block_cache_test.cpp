// What could break: a lease whose bytes are not the file's (invariants I2 and I3), a cache that hangs or stays broken after
// a fault, a cancel or a new plan, reads that nobody needed (I11), demand behind read-ahead (I6), an allocation in a sweep (I5).
// The decoder of test_cache.h compares every byte it leases with the file, under a watchdog.
#include "native/scheduler/block_cache.h"

#include <algorithm>

#include "native/nvme_io/fault_io.h"
#include "native/scheduler/test_cache.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;
using Walk = CacheBench::Walk;

CacheShape random_shape(std::mt19937_64& random) {
  const auto below = [&](uint64_t limit) { return static_cast<uint32_t>(random() % limit); };
  CacheShape shape;
  shape.model = {.trunks = below(4),
                 .bands = 4 + below(30),
                 .head_bands = below(3),
                 .row_bands = 1 + below(8),
                 .experts = below(3) ? 4 + below(30) : 0,
                 .files = 1 + below(2),
                 .band_bytes_max = below(2) ? 10'000u : 60'000u};
  shape.pin_count = below(3) ? below(shape.model.bands + 1) : 0;
  shape.ring_bytes = below(3) ? below(600'000) : 0;
  shape.pool_slots = 2 + below(20);
  shape.row_slots = 1 + below(4);
  shape.io_depth = 1 + below(8);
  return shape;
}

Walk random_walk(CacheBench& bench) {
  return {.with_head = bench.below(3) > 0,
          .next_with_head = bench.below(3) > 0,
          .prefill = bench.below(3) == 0,
          .skip_percent = bench.below(3) ? 0u : 20u,
          .back_percent = bench.below(6) ? 0u : 5u,
          .stop_percent = bench.below(5) ? 0u : 5u,
          .run_max = 1 + bench.below(70),
          .experts_max = 1 + bench.below(40),
          .guess_percent = bench.below(2) ? 70u : 0u};
}

TEST(cache_gives_the_files_bytes_for_any_shape_plan_and_order) {
  const Watchdog watchdog("any shape", 120s);
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    std::mt19937_64 random(seed);
    CacheBench bench(random_shape(random), seed);
    bench.drive.faults.reorder = seed % 2 == 0;
    ASSERT(bench.cache && bench.load());
    for (int i = 0; i < 12; ++i) {
      if (bench.below(3) == 0) bench.new_plan();
      const Status status = bench.sweep(random_walk(bench));
      if (!status.ok()) std::cerr << "  seed " << seed << ": " << status.message() << "\n";
      EXPECT(status.ok());
    }
    EXPECT(bench.compared > 12);
  }
}

TEST(cache_survives_random_faults_and_is_usable_afterwards) {
  const Watchdog watchdog("random faults", 200s);
  uint32_t errors = 0;
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    std::mt19937_64 random(1000 + seed);
    CacheBench bench(random_shape(random), seed);
    ASSERT(bench.cache && bench.load());
    bench.drive.change([&](DriveFaults& f) {
      f.error_percent = seed % 4 == 0 ? 60 : 5, f.short_percent = 20, f.busy_percent = 5;
      f.double_percent = 5, f.refuse_percent = 5, f.end_percent = seed % 2, f.reorder = true;
    });
    for (int i = 0; i < 4; ++i) {
      if (bench.below(3) == 0) bench.new_plan();
      const Status status = bench.sweep(random_walk(bench));
      if (status.ok()) continue;
      ++errors;
      EXPECT(status.code() == Code::kIo || status.code() == Code::kModelChanged);
      EXPECT(status.detail()->file.has_value() && status.detail()->offset_bytes.has_value());
    }
    bench.drive.change([](DriveFaults& f) { f = {.alignment_bytes = f.alignment_bytes}; });
    // What failed ahead of its use was not wanted yet: it is read again, and no error is left over.
    for (int i = 0; i < 3; ++i) EXPECT_OK(bench.sweep(random_walk(bench)));
  }
  EXPECT(errors > 4);
}

TEST(cache_reads_the_streamed_hulls_once_per_sweep) {
  const Watchdog watchdog("I11", 60s);
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    CacheBench bench({.model = {.bands = 40, .row_bands = 0},
                      .pin_count = static_cast<uint32_t>(5 * (seed % 3)),
                      .ring_bytes = 300'000},
                     seed);
    ASSERT(bench.cache && bench.load());
    const CacheCounters& counters = bench.cache->counters();
    EXPECT_EQ(counters.load_bytes.load(), counters.load_bytes_total.load());
    const uint64_t loaded = counters.read_bytes;
    constexpr uint64_t kSweeps = 10;
    for (uint64_t i = 0; i < kSweeps; ++i) EXPECT_OK(bench.sweep({}));
    const uint64_t streamed = bench.streamed_bytes(bench.sizes.pin_count, true);
    EXPECT_EQ(counters.miss_bytes.load(), kSweeps * streamed);
    EXPECT_EQ(counters.misses.load(), kSweeps * (40 - bench.sizes.pin_count));
    EXPECT_EQ(counters.hits.load(), kSweeps * bench.sizes.pin_count);
    // Beyond the sweeps there is only what the ring has read ahead; the last hull of the file comes back cut at its end.
    bench.cache.reset();
    uint64_t submitted = 0;
    for (const auto& read : bench.drive.submitted()) submitted += read.bytes;
    const uint64_t asked = submitted - loaded;
    EXPECT(asked + 4096 >= kSweeps * streamed);
    EXPECT(asked <= kSweeps * streamed + bench.sizes.ring_bytes + 4096);
  }
}

TEST(cache_with_a_place_for_every_block_reads_nothing_after_load) {
  const Watchdog watchdog("all in memory", 60s);
  CacheBench bench({.model = {.bands = 12, .row_bands = 6, .experts = 10},
                    .pin_count = 12,
                    .pool_slots = 10,
                    .row_slots = 6},
                   5);
  ASSERT(bench.cache && bench.load());
  const uint64_t reads = bench.cache->counters().reads;
  for (int i = 0; i < 10; ++i) EXPECT_OK(bench.sweep({.experts_max = 10}));
  EXPECT_EQ(bench.cache->counters().reads.load(), reads);
  EXPECT_EQ(bench.cache->counters().misses.load(), 0u);
  EXPECT_EQ(bench.cache->counters().stall_ns.load(), 0u);
}

TEST(cache_ring_reads_ahead_across_the_end_of_a_sweep) {
  const Watchdog watchdog("token boundary", 60s);
  CacheBench bench({.model = {.bands = 30, .head_bands = 4, .row_bands = 0}, .ring_bytes = 250'000}, 4);
  ASSERT(bench.cache && bench.load());
  EXPECT_OK(bench.sweep({.next_with_head = false}));
  while (bench.drive.outstanding() > 0) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(5ms);
  // The first bands of the next sweep are here: it takes them without a stall.
  (void)bench.drained();
  const uint64_t stalled = bench.cache->counters().stall_ns;
  bench.cache->begin_sweep(bench.plan, {.number = 9, .with_head = false, .next_with_head = false});
  {
    const auto run = bench.cache->acquire_run(bench.model.bands[0], 64);
    ASSERT(run.ok());
    EXPECT(run.value().bands().size() >= 3);
  }
  EXPECT_EQ(bench.cache->counters().stall_ns.load(), stalled);
  bench.cache->end_sweep();
  // Sweeps that leave the head out never read it; one that wants it after all gets it.
  const BlockId head = bench.model.first_head_band;
  while (bench.drive.outstanding() > 0) std::this_thread::sleep_for(1ms);
  (void)bench.drained();
  for (int i = 0; i < 4; ++i) EXPECT_OK(bench.sweep({.with_head = false, .next_with_head = false}));
  for (const Event& event : bench.drained())
    if (event.kind == EventKind::kRead) EXPECT(event.words[0] < index_of(head));
  EXPECT_OK(bench.sweep({.with_head = true, .next_with_head = false}));
  EXPECT_OK(bench.sweep({.with_head = true, .next_with_head = true}));
}

TEST(cache_plan_that_unpins_and_pins_again_costs_reads_only_while_it_lasts) {
  const Watchdog watchdog("pin count", 60s);
  CacheBench bench({.model = {.bands = 20, .row_bands = 0}, .pin_count = 12, .ring_bytes = 200'000}, 6);
  ASSERT(bench.cache && bench.load());
  const CacheCounters& counters = bench.cache->counters();
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(counters.hits.load(), 12u);
  bench.plan.pin_count = 4;
  bench.plan.sequence_number = 1;
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(counters.hits.load(), 16u);
  bench.plan.pin_count = 12;
  bench.plan.sequence_number = 2;
  EXPECT_OK(bench.sweep({}));
  EXPECT_EQ(counters.hits.load(), 28u);
}

TEST(cache_all_pinned_needs_no_ring_whatever_the_plan_says) {
  CacheBench bench({.model = {.bands = 10, .row_bands = 0}, .pin_count = 10}, 8);
  ASSERT(bench.cache && bench.load());
  EXPECT_EQ(bench.sizes.ring_bytes, 0u);
  const uint64_t reads = bench.cache->counters().reads;
  for (uint32_t pins : {10u, 3u, 0u}) {
    bench.plan.pin_count = pins;
    ++bench.plan.sequence_number;
    EXPECT_OK(bench.sweep({}));
  }
  EXPECT_EQ(bench.cache->counters().reads.load(), reads);
}

TEST(cache_with_a_slot_for_every_expert_reads_each_once) {
  const Watchdog watchdog("resident experts", 60s);
  CacheBench bench({.model = {.bands = 6, .experts = 16}, .pin_count = 6, .pool_slots = 16, .row_slots = 6}, 3);
  ASSERT(bench.cache && bench.load());
  const uint64_t reads = bench.cache->counters().reads;
  for (int i = 0; i < 20; ++i)
    EXPECT_OK(bench.sweep({.prefill = i % 2 == 0, .experts_max = 16, .leases_max = 3}));
  EXPECT(bench.cache->counters().reads <= reads + bench.model.row_bands.size());
  EXPECT_EQ(bench.cache->counters().evictions.load(), 0u);
}

TEST(cache_demand_reads_overtake_read_ahead_and_warm_reads) {
  const Watchdog watchdog("I6", 60s);
  CacheBench bench({.model = {.bands = 40, .row_bands = 0, .experts = 30}, .ring_bytes = 900'000,
                    .pool_slots = 20, .io_depth = 2}, 5);
  ASSERT(bench.cache && bench.load());
  for (uint32_t i = 0; i < 20; ++i) bench.plan.warm.push_back(bench.model.experts[i]);
  bench.drive.change([](DriveFaults& f) { f.stalled = true; });
  bench.cache->begin_sweep(bench.plan, {.number = 1});
  bench.cache->end_sweep();  // the ring and the warm list are queued behind two reads that hang
  while (bench.drive.outstanding() < 2) std::this_thread::sleep_for(1ms);
  bench.cache->begin_sweep(bench.plan, {.number = 2});
  const std::vector<BlockId> asked(bench.model.experts.begin() + 25, bench.model.experts.begin() + 29);
  const size_t before = bench.drive.submitted().size();
  EXPECT_OK(bench.cache->request(asked));
  bench.drive.change([](DriveFaults& f) { f.stalled = false; });
  while (true) {
    auto lease = bench.cache->next_expert();
    ASSERT(lease.ok());
    if (!lease.value()) break;
  }
  // Everything submitted until the last of them came is theirs, as long as reads of theirs were left.
  const auto log = bench.drive.submitted();
  uint64_t pieces = 0;
  for (BlockId block : asked) pieces += bench.table[block].n_extents;
  const auto of_pool = [&](const std::byte* into) {
    for (BlockId block : asked)
      for (uint32_t i = 0; i < bench.table[block].n_extents; ++i) {
        const Hull hull = bench.hulls->hull(block, i);
        for (const auto& read : log)
          if (read.into == into && read.offset_bytes == hull.offset_bytes && read.bytes == hull.bytes)
            return true;
      }
    return false;
  };
  ASSERT(log.size() >= before + pieces);
  for (size_t i = before; i < before + pieces; ++i) EXPECT(of_pool(log[i].into));
  bench.cache->end_sweep();
}

TEST(cache_cancel_ends_a_wait_and_the_next_sweep_works_although_a_read_hangs) {
  const Watchdog watchdog("cancel", 60s);
  for (const bool experts : {false, true}) {
    CacheBench bench({.model = {.bands = 12, .row_bands = 0, .experts = 12}, .pin_count = experts ? 12u : 0u,
                      .ring_bytes = 700'000, .pool_slots = 6}, 9);
    ASSERT(bench.cache && bench.load());
    const BlockId victim = experts ? bench.model.experts[3] : bench.model.bands[5];
    const uint64_t offset = bench.hulls->hull(victim, 0).offset_bytes;
    bench.drive.change([&](DriveFaults& f) { f.stall_offset = offset; });
    std::atomic<bool> cancelled{false};
    std::thread canceller([&] {
      std::this_thread::sleep_for(50ms);
      cancelled = true;
    });
    bench.cache->begin_sweep(bench.plan, {.number = 1, .cancelled = &cancelled});
    Status status;
    const auto begin = std::chrono::steady_clock::now();
    if (experts) {
      EXPECT_OK(bench.cache->request({&victim, 1}));
      status = bench.cache->next_expert().status();
    } else {
      for (BlockId band : bench.model.bands) {
        status = bench.cache->acquire_run(band, 1).status();
        if (!status.ok()) break;
      }
    }
    EXPECT(status.code() == Code::kCancelled);
    EXPECT(std::chrono::steady_clock::now() - begin < 500ms);
    canceller.join();
    bench.cache->end_sweep();
    // The read still hangs; its memory is not used again, everything else goes on. Other reads of that place hang too, so
    // the sweep goes around it.
    cancelled = false;
    if (experts) {
      bench.cache->begin_sweep(bench.plan, {.number = 2});
      for (int round = 0; round < 20; ++round) {
        const BlockId other = bench.model.experts[4 + round % 8];
        EXPECT_OK(bench.cache->request({&other, 1}));
        auto lease = bench.cache->next_expert();
        ASSERT(lease.ok() && lease.value());
        EXPECT(std::memcmp(lease.value()->extent(0), bench.model.extent_bytes(other, 0),
                           bench.table.extents(other)[0].size_bytes) == 0);
      }
      bench.cache->end_sweep();
    }
    bench.drive.change([](DriveFaults& f) { f.stall_offset = ~0ull; });
    for (int i = 0; i < 5; ++i) EXPECT_OK(bench.sweep({.experts_max = 12}));
  }
}

TEST(cache_an_error_names_its_place_and_passes) {
  const Watchdog watchdog("error", 60s);
  CacheBench bench({.model = {.bands = 10, .row_bands = 0, .experts = 8}, .ring_bytes = 200'000, .pool_slots = 4}, 2);
  ASSERT(bench.cache && bench.load());
  bench.drive.change([](DriveFaults& f) { f.error_always = true; });
  const Status status = bench.sweep({});
  EXPECT(status.code() == Code::kIo);
  EXPECT(status.message().find("part0.gguf could not be read") != std::string::npos);
  bool fault_seen = false;
  for (const Event& event : bench.drained()) fault_seen |= event.kind == EventKind::kFault;
  EXPECT(fault_seen);
  // Reads that still wait for a retry hold up neither their memory nor the others' turn.
  for (int i = 0; i < 8; ++i) {
    bench.drive.change([](DriveFaults& f) { f.error_always = false; });
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_OK(bench.sweep({.experts_max = 8}));
    EXPECT(std::chrono::steady_clock::now() - begin < 2s);
    // Bands that fail together: the one that is waited for ends the wait, whichever failed last.
    bench.drive.change([](DriveFaults& f) { f.error_always = true; });
    EXPECT(bench.sweep({.experts_max = 8}).code() == Code::kIo);
    EXPECT(std::chrono::steady_clock::now() - begin < 4s);
  }
  bench.drive.change([](DriveFaults& f) { f.error_always = false; });
  EXPECT_OK(bench.sweep({.experts_max = 8}));
  bench.drive.change([](DriveFaults& f) { f.file_end_bytes = 4096; });
  EXPECT(bench.sweep({.experts_max = 8}).code() == Code::kModelChanged);
  bench.drive.change([](DriveFaults& f) { f.file_end_bytes = ~0ull; });
  EXPECT_OK(bench.sweep({.experts_max = 8}));
}

TEST(cache_refuses_misuse_instead_of_hanging) {
  const Watchdog watchdog("misuse", 60s);
  CacheBench bench({.model = {.bands = 8, .experts = 8}, .pool_slots = 2}, 2);
  ASSERT(bench.cache && bench.load());
  const BlockId band = bench.model.bands[0], expert = bench.model.experts[0];
  EXPECT(bench.cache->acquire_run(band, 1).status().code() == Code::kInternal);  // no sweep
  bench.cache->begin_sweep(bench.plan, {.number = 1});
  EXPECT(bench.cache->acquire_run(expert, 1).status().code() == Code::kInternal);
  EXPECT(bench.cache->acquire_run(kNoBlock, 1).status().code() == Code::kInternal);
  EXPECT(bench.cache->request({&band, 1}).code() == Code::kInternal);
  const std::array twice{expert, expert};
  EXPECT(bench.cache->request(twice).code() == Code::kInternal);
  EXPECT(!bench.cache->next_expert().value());  // nothing is asked for
  // Two leases held in a pool of two slots: the third can never come.
  EXPECT_OK(bench.cache->request(std::span(bench.model.experts).first(3)));
  {
    auto first = bench.cache->next_expert(), second = bench.cache->next_expert();
    EXPECT(first.ok() && second.ok());
    EXPECT(bench.cache->next_expert().status().code() == Code::kInsufficientMemory);
  }
  EXPECT(bench.cache->next_expert().value());
  // The same in the ring: one band fits, and it is held.
  {
    auto held = bench.cache->acquire_run(bench.model.bands[0], 1);
    ASSERT(held.ok());
    Status status;
    std::vector<Result<BandRun>> more;
    for (size_t i = 1; i < bench.model.bands.size() && status.ok(); ++i) {
      more.push_back(bench.cache->acquire_run(bench.model.bands[i], 1));
      status = more.back().status();
    }
    EXPECT(status.code() == Code::kInsufficientMemory);
  }
  bench.cache->end_sweep();
  EXPECT_OK(bench.sweep({.experts_max = 8}));
}

TEST(cache_refuses_regions_that_do_not_fit) {
  CacheBench bench({.model = {.bands = 8, .experts = 8}, .pin_count = 3, .pool_slots = 2}, 2);
  const auto code_with = [&](auto&& change) {
    CacheSizes sizes = bench.sizes;
    change(sizes);
    auto arena = nvme_io::Arena::create(64 << 20);
    Drive drive(1);
    auto cache = BlockCache::create(bench.table, sizes, bench.files,
                                    std::make_unique<FakeIo>(drive, 2), 2, *arena, bench.events);
    return cache.ok() ? Code::kOk : cache.status().code();
  };
  EXPECT(code_with([](CacheSizes&) {}) == Code::kOk);
  EXPECT(code_with([](CacheSizes& s) { s.trunk_bytes -= 4096; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.pinned_bytes -= 4096; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.ring_bytes -= 4096; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.ring_bytes += 1; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.pool_slot_bytes -= 4096; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.row_slot_bytes -= 4096; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.pool_slots = 0; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.row_slots = 0; }) == Code::kInternal);
  EXPECT(code_with([](CacheSizes& s) { s.pin_count = 9; }) == Code::kInternal);
}

// Each read of a run fails in each way, once and for ever: right bytes or a typed error, and never a hang.
TEST(cache_every_read_fails_in_every_way) {
  const Watchdog watchdog("every read", 250s);
  const CacheShape shape{.model = {.trunks = 2, .bands = 6, .head_bands = 1, .row_bands = 2, .experts = 6},
                         .pin_count = 2, .pool_slots = 3};
  uint32_t reads = 0;
  {
    CacheBench bench(shape, 3);
    ASSERT(bench.load());
    EXPECT_OK(bench.sweep({.experts_max = 3}));
    reads = static_cast<uint32_t>(bench.drive.submitted().size());
  }
  uint32_t failed = 0, passed = 0;
  for (const char* mode : {"eio", "enomem", "short", "short=100", "eof", "delay=2", "stall", "reorder", "duplicate"}) {
    for (const char* repeat : {"once", "forever"}) {
      // A place that never has memory is given up after a second: a few of those are enough.
      const uint32_t step = mode == std::string("enomem") && repeat == std::string("forever") ? 12 : 1;
      for (uint32_t k = 0; k < reads; k += step) {
        const std::string text =
            std::string(mode) + ":at=" + std::to_string(k) + ":" + repeat + ":" + std::to_string(k);
        auto schedule = nvme_io::FaultSchedule::parse(text);
        ASSERT(schedule.ok());
        Drive drive(k);
        auto faulty = std::make_unique<nvme_io::FaultIo>(
            std::make_unique<FakeIo>(drive, shape.io_depth), std::move(schedule).value());
        nvme_io::FaultIo& watcher = *faulty;
        CacheBench bench(shape, 3, std::move(faulty));
        for (const auto& file : bench.drive.files) drive.files.push_back(file);
        std::atomic<bool> cancelled{false};
        std::atomic<bool> over{false};
        std::thread canceller([&] {
          for (int i = 0; i < 40 && !over && mode == std::string("stall"); ++i) std::this_thread::sleep_for(1ms);
          if (mode == std::string("stall")) cancelled = true;
        });
        Status status = bench.cache->load(bench.plan, cancelled);
        const bool loaded = status.ok();
        for (int i = 0; i < 2 && status.ok(); ++i)
          status = bench.sweep({.experts_max = 3, .cancelled = &cancelled});
        over = true;
        canceller.join();
        const Code code = status.code();
        if (!status.ok() && code != Code::kIo && code != Code::kModelChanged && code != Code::kCancelled) {
          std::cerr << "  " << text << ": " << status.message() << "\n";
          EXPECT(!"typed error");
        }
        if (std::string(repeat) == "once" && std::string(mode) != "eof" && std::string(mode) != "stall")
          EXPECT(status.ok());
        ++(status.ok() ? passed : failed);
        watcher.release_stalled();
        if (loaded && std::string(repeat) == "once")
          for (int i = 0; i < 2; ++i) EXPECT_OK(bench.sweep({.experts_max = 3}));
        // FaultIo counts a doubled read as outstanding until its second completion; for the cache the first one ends it.
        if (mode != std::string("duplicate")) EXPECT_OK(watcher.violation());
      }
    }
  }
  EXPECT(failed > reads && passed > 4 * reads);
}

// With the real backends behind FaultIo, which watches buffers and alignment on its own.
TEST(cache_with_real_backends_under_fault_schedules) {
  const Watchdog watchdog("real backends", 200s);
  for (const auto choice : {nvme_io::BackendChoice::kUring, nvme_io::BackendChoice::kPread,
                            nvme_io::BackendChoice::kBuffered}) {
    for (const char* text :
         {"", "short:every=3:forever:7", "eio:every=20:forever:5;delay=2:every=5:forever:3",
          "reorder:every=2:forever:9;duplicate:every=7:forever:1", "enomem:every=6:forever:4"}) {
      for (uint64_t seed = 1; seed <= 3; ++seed) {
        std::mt19937_64 random(seed);
        CacheShape shape = random_shape(random);
        shape.direct = choice != nvme_io::BackendChoice::kBuffered;
        auto opened = nvme_io::open_backend(choice, shape.io_depth);
        if (!opened.ok()) {
          nvme_io::testing::skip(opened.status().message());
          break;
        }
        auto schedule = nvme_io::FaultSchedule::parse(text);
        ASSERT(schedule.ok());
        auto faulty = std::make_unique<nvme_io::FaultIo>(std::move(opened.value().backend),
                                                         std::move(schedule).value());
        const nvme_io::FaultIo& watcher = *faulty;
        CacheBench bench(shape, seed, std::move(faulty));
        ASSERT(bench.cache && bench.load());
        for (int i = 0; i < 5; ++i) {
          if (bench.below(3) == 0) bench.new_plan();
          const Status status = bench.sweep(random_walk(bench));
          if (!status.ok())
            std::cerr << "  " << text << ", seed " << seed << ": " << status.message() << "\n";
          EXPECT(status.ok());
        }
        if (std::string(text).find("duplicate") == std::string::npos) EXPECT_OK(watcher.violation());
      }
    }
  }
}

}  // namespace
}  // namespace hypura::scheduler
