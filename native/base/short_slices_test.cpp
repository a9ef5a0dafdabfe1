// What could break: the request does nothing, or changes more than the slice: the niceness, a policy that is not the default
// one. The system is asked before and after; one that knows no slices, or an emulator, shows that on a slice of the test's own.
#include "native/base/short_slices.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <thread>

#include "native/base/testing.h"

namespace hypura {
namespace {

struct Attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
};

std::optional<Attributes> attributes() {
  Attributes found{};
  if (syscall(SYS_sched_getattr, 0, &found, sizeof found, 0) != 0) return {};
  return found;
}

bool system_knows_slices() {
  auto wanted = attributes();
  if (!wanted) return false;
  wanted->size = sizeof *wanted;
  wanted->runtime_ns = 200'000;
  if (syscall(SYS_sched_setattr, 0, &*wanted, 0) != 0) return false;
  return attributes()->runtime_ns == 200'000;
}

TEST(a_short_slice_is_asked_for_and_niceness_stays) {
  std::thread([] {
    const bool known = system_knows_slices();
    const auto before = attributes();
    setpriority(PRIO_PROCESS, 0, 5);  // of this thread alone, on Linux
    ask_for_short_slices();
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 5);
    if (!before) return;
    const auto after = attributes();
    EXPECT_EQ(after->policy, before->policy);
    EXPECT_EQ(after->flags, before->flags);
    if (known) EXPECT_EQ(after->runtime_ns, uint64_t{100'000});
  }).join();
}

TEST(a_policy_of_the_host_is_left_alone) {
  std::thread([] {
    const sched_param none{};
    if (sched_setscheduler(0, SCHED_BATCH, &none) != 0) return;
    ask_for_short_slices();
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  }).join();
}

}  // namespace
}  // namespace hypura
#endif
