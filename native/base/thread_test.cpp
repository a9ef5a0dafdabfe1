// What could break: the stack is the system's default after all, a body is lost, called twice or leaked, a thread that could not
// be made looks like one.
#include "native/base/thread.h"

#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/base/testing.h"

namespace hypura {
namespace {

// Writes to the last byte of every page of kBytes of stack.
template <size_t kBytes>
__attribute__((noinline)) int use_stack() {
  volatile uint8_t bytes[kBytes];
  for (size_t i = 0; i < kBytes; i += 4096) bytes[kBytes - 1 - i] = 1;
  return bytes[kBytes - 1];
}

TEST(a_thread_has_its_stack_when_the_default_is_small) {
  rlimit before;
  EXPECT_EQ(getrlimit(RLIMIT_STACK, &before), 0);
  rlimit small = before;
  small.rlim_cur = 128 << 10;
  EXPECT_EQ(setrlimit(RLIMIT_STACK, &small), 0);
  std::atomic<int> used{0};
  Thread thread([&] { used = use_stack<Thread::kStackBytes / 4 * 3>(); });
  thread.join();
  EXPECT_EQ(setrlimit(RLIMIT_STACK, &before), 0);
  EXPECT_EQ(used.load(), 1);
}

TEST(a_body_is_called_once_and_freed) {
  auto alive = std::make_shared<int>(0);
  std::atomic<int> calls{0};
  Thread thread([alive, &calls] { ++calls; });
  EXPECT_EQ(thread.joinable(), true);
  thread.join();
  EXPECT_EQ(thread.joinable(), false);
  EXPECT_EQ(calls.load(), 1);
  EXPECT_EQ(alive.use_count(), 1L);
}

TEST(threads_are_moved) {
  std::atomic<int> calls{0};
  std::vector<Thread> threads;
  for (int i = 0; i < 5; ++i) threads.emplace_back([&calls] { ++calls; });
  Thread taken = std::move(threads.back());
  threads.pop_back();
  for (Thread& thread : threads) thread.join();
  taken.join();
  EXPECT_EQ(calls.load(), 5);
}

}  // namespace
}  // namespace hypura
