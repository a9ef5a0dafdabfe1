// What could break: an item done twice or not at all, run() returning while a worker is inside, a
// lost wake-up (the test would hang), a worker with flush-to-zero or another rounding, the caller's
// own rounding lost, an allocation inside run(). How we notice: a counter per item over thousands
// of small jobs with two pools at once; results written without atomics, so that a thread sanitizer
// sees a missing hand-over; the rounding read back; the guard of hot_path_guard.h.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "native/base/hot_path_guard.h"
#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/kernels/thread_pool.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace hypura::kernels {
namespace {

// The floating-point control register, and in it the bits that flush subnormals and choose the rounding.
#if defined(__x86_64__)
constexpr uint64_t kFlushBits = 0x8040, kRounding = 0x6000;
uint64_t float_state() { return _mm_getcsr(); }
void set_float_state(uint64_t state) { _mm_setcsr(static_cast<uint32_t>(state)); }
#elif defined(__aarch64__)
constexpr uint64_t kFlushBits = 1 << 24, kRounding = 3 << 22;
uint64_t float_state() {
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state));
  return state;
}
void set_float_state(uint64_t state) { __asm__ volatile("msr fpcr, %0" : : "r"(state)); }
#endif

std::unique_ptr<ThreadPool> make_pool(uint32_t n_threads) {
  auto pool = ThreadPool::create(n_threads);
  EXPECT(pool.ok());
  return std::move(pool).value();
}

TEST(every_item_is_done_exactly_once) {
  for (const uint32_t n_threads : {1u, 2u, 3u, 8u}) {
    const auto pool = make_pool(n_threads);
    EXPECT_EQ(pool->n_threads(), n_threads);
    std::vector<uint32_t> done(1000);
    for (uint32_t round = 0; round < 600; ++round) {
      const uint32_t n = round * 37 % 1000, grain = 1 + round % 65;
      pool->for_each(n, grain, [&](uint32_t begin, uint32_t end, uint32_t worker) {
        if (worker >= n_threads || begin >= end || end > n || end - begin > grain)
          ::hypura::testing::fail(__FILE__, __LINE__, "a piece outside its bounds");
        for (uint32_t i = begin; i < end; ++i) done[i]++;  // not atomic: the pool orders rounds
      });
      for (uint32_t i = 0; i < done.size(); ++i) {
        if (done[i] != (i < n ? 1u : 0u)) EXPECT_EQ(done[i], i < n ? 1u : 0u);
        done[i] = 0;
      }
    }
  }
}

TEST(jobs_after_a_pause_find_sleeping_workers) {
  const auto pool = make_pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<uint32_t> sum{0};
    pool->for_each(100, 1, [&](uint32_t begin, uint32_t, uint32_t) { sum += begin; });
    EXPECT_EQ(sum.load(), 4950u);
  }
}

TEST(workers_take_part) {
  const auto pool = make_pool(2);
  std::atomic<uint32_t> workers_seen{0};
  for (int round = 0; round < 200 && workers_seen.load() != 3; ++round)
    pool->for_each(8, 1, [&](uint32_t, uint32_t, uint32_t worker) {
      workers_seen |= 1u << worker;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    });
  EXPECT_EQ(workers_seen.load(), 3u);
}

TEST(run_returns_after_the_slowest_worker) {
  const auto pool = make_pool(3);
  for (int round = 0; round < 50; ++round) {
    uint32_t done[3] = {};  // not atomic: run() hands the results over
    pool->for_each(3, 1, [&](uint32_t begin, uint32_t, uint32_t worker) {
      std::this_thread::sleep_for(std::chrono::microseconds(worker == 0 ? 100 : 1500));
      done[begin] = 1;
    });
    EXPECT_EQ(done[0] + done[1] + done[2], 3u);
  }
}

TEST(two_pools_at_once_do_not_meet) {
  const auto one = make_pool(3);
  std::thread other([] {
    const auto two = make_pool(3);
    for (int round = 0; round < 500; ++round) {
      std::vector<uint8_t> done(64);
      two->for_each(64, 3, [&](uint32_t begin, uint32_t end, uint32_t) {
        for (uint32_t i = begin; i < end; ++i) done[i] = 1;
      });
      for (const uint8_t item : done) EXPECT_EQ(int(item), 1);
    }
  });
  for (int round = 0; round < 500; ++round) {
    std::atomic<uint32_t> count{0};
    one->for_each(50, 7, [&](uint32_t begin, uint32_t end, uint32_t) { count += end - begin; });
    EXPECT_EQ(count.load(), 50u);
  }
  other.join();
}

TEST(pools_are_made_and_joined_many_times) {
  for (int round = 0; round < 100; ++round) {
    const auto pool = make_pool(1 + round % 4);
    if (round % 2 == 0) pool->for_each(10, 1, [](uint32_t, uint32_t, uint32_t) {});
  }
}

TEST(a_bad_number_of_threads_is_refused_with_advice) {
  for (const uint32_t n : {0u, kThreadsMax + 1}) {
    const auto pool = ThreadPool::create(n);
    EXPECT(!pool.ok());
    EXPECT(pool.status().code() == Code::kInvalidArgument);
    EXPECT(pool.status().message().find(std::to_string(kThreadsMax)) != std::string::npos);
  }
}

TEST(run_does_not_allocate) {
  const auto pool = make_pool(3);
  uint32_t done[64] = {};
  const HotPathGuard guard;
  pool->for_each(64, 4, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i) done[i] = 1;
  });
}

TEST(items_see_the_default_float_state_and_the_caller_keeps_its_own) {
  const auto pool = make_pool(3);
  const uint64_t before = float_state();
  set_float_state(before | kFlushBits | kRounding);
  std::atomic<uint32_t> wrong{0};
  pool->for_each(300, 1, [&](uint32_t, uint32_t, uint32_t) {
    wrong += (float_state() & (kFlushBits | kRounding)) != 0;
  });
  const uint64_t after = float_state();
  set_float_state(before);
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_EQ(after & (kFlushBits | kRounding), kFlushBits | kRounding);
}

}  // namespace
}  // namespace hypura::kernels
