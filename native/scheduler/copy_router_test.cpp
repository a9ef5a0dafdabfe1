// What could break: a fast drive idles while a slow one has a queue, a drive that slows down keeps its share, one that was
// slow once is never tried again, or a read waits for ever for a drive that hangs. How we notice: a simulation of drives
// with known speeds, in its own time, is the second implementation: shares and the time of the whole must be those of the
// speeds, and every rule about states is asked for directly.
#include "native/scheduler/copy_router.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <memory>
#include <random>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

using namespace std::chrono_literals;
using Clock = CopyRouter::Clock;

constexpr uint32_t kDepth = 8;
constexpr uint32_t kMiB = 1u << 20;

CopyLayout drives(std::vector<double> bytes_per_second) {
  CopyLayout layout{.copies = static_cast<uint32_t>(bytes_per_second.size()),
                    .drives = {},
                    .bytes_per_second = std::move(bytes_per_second)};
  for (uint32_t copy = 0; copy < layout.copies; ++copy) layout.drives.push_back(copy);
  return layout;
}

// Drives that serve their reads one after the other, at speeds that a test may change; a reader that keeps all of them busy.
class Simulation {
 public:
  Simulation(std::vector<double> measured, std::vector<double> real)
      : router_(drives(std::move(measured)), 1, kDepth, counters_), real_(std::move(real)) {
    free_at_.assign(real_.size(), now_);
  }

  // Reads `reads` pieces of random sizes up to 1 MiB; seconds until the last is there.
  double run(uint32_t reads) {
    std::mt19937_64 random(3);
    const Clock::time_point begin = now_;
    std::vector<uint64_t> before;
    for (size_t i = 0; i < real_.size(); ++i) before.push_back(counters_[i].read_bytes);
    for (uint32_t issued = 0; issued < reads || !flying_.empty();) {
      while (issued < reads && !router_.all_full()) {
        const uint32_t bytes = waiting_bytes_ > 0 ? waiting_bytes_ : (1 + random() % 16) * (kMiB / 16);
        const uint32_t copy = router_.choose(0, bytes, 0, now_);
        waiting_bytes_ = copy == CopyRouter::kNone ? bytes : 0;
        if (copy == CopyRouter::kNone) break;
        const double expected = router_.submitted(0, copy, bytes, now_);
        const auto takes = std::chrono::nanoseconds(static_cast<int64_t>(bytes / real_[copy] * 1e9));
        free_at_[copy] = std::max(free_at_[copy], now_ + 50us) + takes;
        flying_.push_back({copy, bytes, expected, now_, free_at_[copy]});
        ++issued;
      }
      const auto first = std::min_element(flying_.begin(), flying_.end(), [](auto& a, auto& b) {
        return a.done_at < b.done_at;
      });
      now_ = std::max(now_, first->done_at);
      router_.returned(0, first->copy, first->bytes, first->bytes, first->expected,
                       std::chrono::duration<double, std::nano>(now_ - first->begun_at).count(),
                       now_);
      flying_.erase(first);
    }
    shares_.clear();
    uint64_t sum = 0;
    for (size_t i = 0; i < real_.size(); ++i) sum += counters_[i].read_bytes - before[i];
    for (size_t i = 0; i < real_.size(); ++i)
      shares_.push_back(static_cast<double>(counters_[i].read_bytes - before[i]) /
                        static_cast<double>(sum));
    bytes_ = static_cast<double>(sum);
    return std::chrono::duration<double>(now_ - begin).count();
  }
  void pass(Clock::duration time) { now_ += time; }
  double share(size_t copy) const { return shares_[copy]; }
  double bytes() const { return bytes_; }
  void set_speed(size_t copy, double bytes_per_second) { real_[copy] = bytes_per_second; }

 private:
  struct Flying {
    uint32_t copy;
    uint32_t bytes;
    double expected;
    Clock::time_point begun_at, done_at;
  };
  std::array<CopyCounters, kCopiesMax> counters_;
  CopyRouter router_;
  std::vector<double> real_;
  std::vector<Clock::time_point> free_at_;
  std::vector<Flying> flying_;
  Clock::time_point now_{1h};
  uint32_t waiting_bytes_ = 0;
  std::vector<double> shares_;
  double bytes_ = 0;
};

bool near(double value, double wanted, double off) { return std::fabs(value - wanted) <= off; }

TEST(router_shares_follow_the_speeds) {
  for (const auto& speeds : {std::vector{2e9, 2e9}, {3e9, 1e9}, {7e9, 3e9, 1e9}, {2e9, 2e9, 2e9, 2e9}}) {
    Simulation simulation(speeds, speeds);
    const double seconds = simulation.run(4000);
    double sum = 0;
    for (double speed : speeds) sum += speed;
    for (size_t i = 0; i < speeds.size(); ++i)
      if (!near(simulation.share(i), speeds[i] / sum, 0.05))
        testing::fail(__FILE__, __LINE__, "share " + std::to_string(i) + " of " +
                                              std::to_string(speeds.size()) + ": " +
                                              std::to_string(simulation.share(i)));
    EXPECT(seconds < simulation.bytes() / sum * 1.1);
  }
}

TEST(router_gives_a_drive_less_that_slows_down_and_more_when_it_recovers) {
  Simulation simulation({2e9, 2e9}, {2e9, 2e9});
  simulation.run(1000);
  EXPECT(near(simulation.share(1), 0.5, 0.05));
  simulation.set_speed(1, 0.5e9);
  simulation.run(1000);  // learns
  const double slow = simulation.run(2000);
  EXPECT(near(simulation.share(1), 0.2, 0.07));
  EXPECT(slow < simulation.bytes() / 2.5e9 * 1.2);
  simulation.set_speed(1, 2e9);
  simulation.run(2000);
  simulation.run(2000);
  EXPECT(near(simulation.share(1), 0.5, 0.08));
}

TEST(router_tries_a_drive_again_that_was_too_slow_to_be_used) {
  Simulation simulation({2e9, 2e9}, {2e9, 2e9 / 40});
  simulation.run(2000);
  EXPECT(simulation.share(1) < 0.06);
  simulation.set_speed(1, 2e9);
  for (int i = 0; i < 12; ++i) {
    simulation.pass(1100ms);
    simulation.run(500);
  }
  EXPECT(simulation.share(1) > 0.4);
}

TEST(router_measured_wrong_learns) {
  Simulation simulation({4e9, 1e9}, {1e9, 4e9});
  simulation.run(4000);
  simulation.run(2000);
  EXPECT(simulation.share(1) > 0.65);
}

struct Router {
  explicit Router(const CopyLayout& layout, uint32_t depth = 2) : router(layout, 1, depth, counters) {}
  std::array<CopyCounters, kCopiesMax> counters;
  CopyRouter router;
  Clock::time_point now{1h};
  uint32_t choose(uint32_t asked = 0) { return router.choose(0, kMiB, asked, now); }
  void submit(uint32_t copy) { router.submitted(0, copy, kMiB, now); }
};

TEST(router_prefers_the_first_copy_among_equals_and_respects_the_depth) {
  Router r(drives({1e9, 1e9}));
  EXPECT_EQ(r.choose(), 0u);
  r.submit(0);
  EXPECT_EQ(r.choose(), 1u);
  r.submit(1);
  EXPECT_EQ(r.choose(), 0u);
  r.submit(0);
  EXPECT(!r.router.has_room(0, 0) && r.router.has_room(0, 1));
  r.submit(1);
  EXPECT(r.router.all_full());
  r.router.withdrawn(0, 1, kMiB);
  EXPECT(!r.router.all_full());
  EXPECT_EQ(r.choose(), 1u);
}

TEST(router_keeps_to_one_queue_where_copies_share_a_drive) {
  CopyLayout layout{.copies = 2, .drives = {0, 0}, .bytes_per_second = {1e9}};
  Router r(layout);
  r.submit(0);
  EXPECT_EQ(r.choose(), 0u);
  r.submit(0);
  EXPECT(r.router.all_full());
  EXPECT(!r.router.has_room(0, 1));
}

TEST(router_waits_for_a_fast_drive_but_not_for_one_that_hangs) {
  Router r(drives({10e9, 1e9}));
  r.submit(0);
  r.submit(0);
  EXPECT_EQ(r.choose(), CopyRouter::kNone);  // 0.3 ms there, 1 ms here
  r.now += CopyRouter::kStuckTime + 1ms;
  EXPECT_EQ(r.choose(), 1u);
}

TEST(router_asks_healthy_copies_then_failing_ones_and_never_dropped_ones) {
  Router r(drives({1e9, 1e9, 1e9}));
  EXPECT_EQ(r.choose(1), 1u);
  EXPECT_EQ(r.choose(3), 2u);
  EXPECT(!r.router.can_ask(7));
  for (uint32_t i = 0; i < kCopyFailuresMax; ++i) {
    EXPECT(r.counters[0].state == CopyState::kHealthy);
    r.router.failed(0, 0, 17, EIO);
  }
  EXPECT(r.counters[0].state == CopyState::kFailing);
  EXPECT_EQ(r.choose(), 1u);
  r.router.failed(0, 1, 17, ENODEV);  // gone at once
  EXPECT_EQ(r.choose(), 2u);
  r.router.failed(0, 2, 4096, 0);  // cut
  EXPECT(r.router.dropped(2));
  EXPECT_EQ(r.choose(), 0u);  // failing, but the best that is left
  EXPECT_EQ(r.choose(1), 1u);
  EXPECT(!r.router.can_ask(3));
  r.router.failed(0, 1, 0, 0);
  r.router.failed(0, 0, 0, 0);  // the last one stays
  EXPECT(r.router.dropped(1) && !r.router.dropped(0));
  EXPECT_EQ(r.counters[0].failures.load(), uint64_t{kCopyFailuresMax} + 1);
}

TEST(router_takes_unknown_speeds_for_ordinary_ones) {
  Router r(drives({0, 4e9, 2e9}), 8);
  uint32_t count[3] = {};
  for (int i = 0; i < 9; ++i) {
    const uint32_t copy = r.choose();
    ASSERT(copy < 3);
    ++count[copy];
    r.submit(copy);
  }
  EXPECT(count[1] > count[0] && count[0] > count[2] && count[2] > 0);
}

}  // namespace
}  // namespace hypura::scheduler
