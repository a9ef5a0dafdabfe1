// What could break: a guess that costs more than it may, that reads when it must not, that pushes out what is asked for, that
// spoils the figures of hits, or a score that is wrong. A drive in memory shows what was read; the counters are compared with
// what the test knows it asked for. That no guess changes a byte is shown in block_cache_test.cpp.
#include "native/scheduler/guesses.h"

#include <algorithm>

#include "native/scheduler/test_cache.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;

// 24 experts, a pool of 8.
class GuessBench {
 public:
  explicit GuessBench(GuessMode mode, GuessSource source = GuessSource::kRouter)
      : bench_(shape(), 7) {
    CHECK(bench_.cache && bench_.load());
    bench_.plan.guess_mode = mode;
    bench_.plan.guess_source = source;
    bench_.plan.guesses_max = 4;
    bench_.plan.sequence_number = 1;
    begin();
  }
  ~GuessBench() { end(); }

  void begin(bool prefill = false) {
    bench_.cache->begin_sweep(bench_.plan, {.number = ++bench_.sweeps, .prefill = prefill});
  }
  void end() { bench_.cache->end_sweep(); }
  void next_sweep(bool prefill = false) {
    end();
    begin(prefill);
  }
  // From the next sweep on.
  void guess_by(GuessSource source) {
    end();
    bench_.plan.guess_source = source;
    ++bench_.plan.sequence_number;
    begin();
  }
  // Asks for experts and takes them all; `guess` is named in between, as a decoder does.
  void ask(const std::vector<uint32_t>& experts, const std::vector<uint32_t>& guess = {}) {
    EXPECT_OK(bench_.cache->request(blocks(experts)));
    if (!guess.empty()) bench_.cache->guess(blocks(guess));
    while (true) {
      auto lease = bench_.cache->next_expert();
      EXPECT_OK(lease.status());
      if (!lease.ok() || !lease.value()) break;
    }
  }
  // Until nothing is being read.
  void settle() {
    std::this_thread::sleep_for(2ms);
    while (bench_.drive.outstanding() > 0) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(2ms);
  }
  bool was_read(uint32_t expert) {
    const Extent& extent = bench_.table.extents(block(expert))[0];
    const int fd = bench_.files[extent.file].fd();
    const uint64_t begin = extent.offset_bytes / 4096 * 4096;
    const auto log = bench_.drive.submitted();
    return std::any_of(log.begin(), log.end(), [&](const Drive::Submitted& read) {
      return read.fd == fd && read.offset_bytes == begin;
    });
  }
  uint64_t bytes(uint32_t expert) const { return bench_.hulls->hull_bytes(block(expert)); }
  const CacheCounters& counters() const { return bench_.cache->counters(); }
  Drive& drive() { return bench_.drive; }
  BlockCache& cache() { return *bench_.cache; }
  std::vector<Event> events() { return bench_.drained(); }

 private:
  static CacheShape shape() {
    CacheShape shape;
    shape.model = {.bands = 4, .head_bands = 0, .row_bands = 1, .experts = 24};
    shape.pin_count = 4;
    shape.pool_slots = 8;
    return shape;
  }
  BlockId block(uint32_t expert) const { return bench_.model.experts[expert]; }
  std::vector<BlockId> blocks(const std::vector<uint32_t>& experts) const {
    std::vector<BlockId> ids;
    for (uint32_t expert : experts) ids.push_back(block(expert));
    return ids;
  }
  CacheBench bench_;
};

TEST(a_right_guess_is_read_ahead_and_still_counts_as_a_miss) {
  const Watchdog watchdog("right guess", 60s);
  GuessBench bench(GuessMode::kPrefetch);
  bench.ask({0, 1}, {2, 3});
  bench.settle();
  EXPECT(bench.was_read(2) && bench.was_read(3));
  const uint64_t misses = bench.counters().misses, miss_bytes = bench.counters().miss_bytes;
  bench.ask({2, 3});
  EXPECT_EQ(bench.counters().misses - misses, 2u);
  EXPECT_EQ(bench.counters().miss_bytes - miss_bytes, bench.bytes(2) + bench.bytes(3));
  EXPECT_EQ(bench.counters().guess_read_bytes.load(), bench.bytes(2) + bench.bytes(3));
  EXPECT_EQ(bench.counters().guess_used_bytes.load(), bench.bytes(2) + bench.bytes(3));
  bench.next_sweep();
  bench.ask({2, 3});  // from here on they are hits like any other
  EXPECT_EQ(bench.counters().misses - misses, 2u);
}

TEST(off_shadow_and_retain_read_nothing_ahead) {
  const Watchdog watchdog("modes", 60s);
  for (const GuessMode mode : {GuessMode::kOff, GuessMode::kShadow, GuessMode::kRetain}) {
    GuessBench bench(mode);
    EXPECT_EQ(bench.cache().guesses_wanted(), mode == GuessMode::kOff ? 0u : 4u);
    bench.ask({0, 1}, {2, 3});
    bench.settle();
    EXPECT(!bench.was_read(2) && !bench.was_read(3));
    bench.ask({2, 5});
    EXPECT_EQ(bench.counters().guess_read_bytes.load(), 0u);
  }
}

TEST(the_score_of_a_sweep_is_what_was_asked_for) {
  const Watchdog watchdog("score", 60s);
  for (const auto& [mode, source] : {std::pair{GuessMode::kShadow, GuessSource::kRouter},
                                     std::pair{GuessMode::kPrefetch, GuessSource::kRouter},
                                     std::pair{GuessMode::kPrefetch, GuessSource::kTable}}) {
    GuessBench bench(mode, source);
    bench.ask({0, 1}, {1, 2, 3});
    bench.settle();
    bench.ask({1, 2, 4}, {5});  // 1 was here, 2 was guessed, 4 was not
    bench.settle();
    bench.ask({6});
    bench.end();
    uint32_t seen = 0;
    for (const Event& event : bench.events()) {
      if (event.kind != EventKind::kGuess) continue;
      ++seen;
      EXPECT_EQ(event.count, static_cast<uint8_t>(mode));
      EXPECT_EQ(event.words[0], 4u << 16 | 2u);
      EXPECT_EQ(event.words[1], 4u << 16 | 3u);
      EXPECT_EQ(event.words[2], 1u);
      EXPECT_EQ(event.words[3], static_cast<uint32_t>(source));
    }
    EXPECT_EQ(seen, 1u);
    EXPECT_EQ(bench.counters().guessed.load(), 4u);
    EXPECT_EQ(bench.counters().guessed_correctly.load(), 2u);
    EXPECT_EQ(bench.counters().guess_asked.load(), 4u);
    bench.begin();
  }
}

TEST(an_unused_guess_leaves_first) {
  const Watchdog watchdog("first victim", 60s);
  GuessBench bench(GuessMode::kPrefetch);
  bench.ask({0, 1, 2, 3, 4, 5}, {6, 7});
  bench.settle();
  bench.ask({0});  // 6 and 7 were wrong
  bench.ask({8, 9});
  const uint64_t misses = bench.counters().misses;
  bench.next_sweep();
  bench.ask({0, 1, 2, 3, 4, 5, 8, 9});
  EXPECT_EQ(bench.counters().misses.load(), misses);
}

TEST(a_guessed_resident_is_kept) {
  const Watchdog watchdog("retain", 60s);
  for (const GuessMode mode : {GuessMode::kShadow, GuessMode::kRetain}) {
    GuessBench bench(mode);
    for (uint32_t expert = 0; expert < 8; ++expert) bench.ask({expert});
    bench.ask({1}, {0});        // 0 is the oldest
    bench.ask({8, 9, 10, 0});   // three have to leave
    bench.next_sweep();
    const uint64_t misses = bench.counters().misses;
    bench.ask({2, 0});
    EXPECT_EQ(bench.counters().misses - misses, 1u);
  }
}

TEST(wrong_guesses_stay_within_their_share_and_lose_their_trust) {
  const Watchdog watchdog("wrong guesses", 60s);
  GuessBench bench(GuessMode::kPrefetch);
  uint64_t largest = 0;
  for (uint32_t expert = 0; expert < 24; ++expert) largest = std::max(largest, bench.bytes(expert));
  std::mt19937_64 random(3);
  const auto run = [&](int steps) {
    for (int step = 0; step < steps; ++step) {
      if (step % 4 == 0) bench.next_sweep();
      // Asked for are even ones, guessed are odd ones.
      bench.ask({static_cast<uint32_t>(random() % 12 * 2)}, {static_cast<uint32_t>(random() % 12 * 2 + 1)});
      bench.settle();
    }
  };
  run(200);
  const uint64_t wasted = bench.counters().guess_read_bytes;
  EXPECT(wasted > 0);
  EXPECT_EQ(bench.counters().guess_used_bytes.load(), 0u);
  EXPECT(static_cast<double>(wasted) <=
         Guesses::kWasteShare * static_cast<double>(bench.counters().miss_bytes) + Guesses::kWasteBlocksMax * static_cast<double>(largest));
  run(100);
  EXPECT_EQ(bench.counters().guess_read_bytes.load(), wasted);  // it rests
  for (uint32_t i = 0; i < Guesses::kRestSweeps; ++i) bench.next_sweep();
  run(40);
  EXPECT(bench.counters().guess_read_bytes > wasted);  // and gets another chance
}

TEST(a_source_that_guesses_wrong_spoils_no_other) {
  const Watchdog watchdog("accounts", 60s);
  GuessBench bench(GuessMode::kPrefetch, GuessSource::kTable);
  std::mt19937_64 random(5);
  for (int step = 0; step < 200; ++step) {
    if (step % 4 == 0) bench.next_sweep();
    bench.ask({static_cast<uint32_t>(random() % 6 * 2)}, {static_cast<uint32_t>(random() % 12 * 2 + 1)});
    bench.settle();
  }
  const uint64_t wasted = bench.counters().guess_read_bytes;
  EXPECT(wasted > 0);
  bench.ask({0}, {21});
  bench.settle();
  EXPECT_EQ(bench.counters().guess_read_bytes.load(), wasted);  // it rests
  bench.guess_by(GuessSource::kRouter);
  bench.ask({0, 2}, {12, 14});  // which nobody has asked for yet
  bench.settle();
  bench.ask({12, 14});
  EXPECT_EQ(bench.counters().guess_used_bytes.load(), bench.bytes(12) + bench.bytes(14));
}

TEST(what_has_not_begun_is_dropped_when_demand_comes) {
  const Watchdog watchdog("dropped", 60s);
  GuessBench bench(GuessMode::kPrefetch);
  bench.ask({0});
  bench.drive().change([](DriveFaults& f) { f.stalled = true; });
  EXPECT_OK(bench.cache().request({}));
  bench.ask({0}, {1, 2, 3, 4});  // 0 is here, so this does not wait
  std::this_thread::sleep_for(5ms);
  EXPECT(bench.drive().outstanding() <= kGuessReadsMax);
  std::thread release([&] {
    std::this_thread::sleep_for(5ms);
    bench.drive().change([](DriveFaults& f) { f.stalled = false; });
  });
  bench.ask({9});
  release.join();
  bench.settle();
  EXPECT(bench.was_read(9));
}

TEST(prefill_does_not_guess) {
  const Watchdog watchdog("prefill", 60s);
  GuessBench bench(GuessMode::kPrefetch);
  bench.next_sweep(true);
  EXPECT_EQ(bench.cache().guesses_wanted(), 0u);
}

}  // namespace
}  // namespace hypura::scheduler
