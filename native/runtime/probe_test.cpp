// What could break: a container's limit is not seen and threads fight over one core, or a text of the kernel is misread.
// How we notice: the texts of cgroup v1 and v2 as fixtures, and the facts of this machine against a second source.
#include "native/runtime/probe.h"

#include <algorithm>
#include <thread>

#include "native/base/testing.h"

namespace hypura::runtime {
namespace {

TEST(quotas_become_cores) {
  EXPECT_EQ(cores_by_quota("max 100000\n"), 0u);
  EXPECT_EQ(cores_by_quota("200000 100000\n"), 2u);
  EXPECT_EQ(cores_by_quota("150000 100000"), 2u);
  EXPECT_EQ(cores_by_quota("1000 100000"), 1u);
  EXPECT_EQ(cores_by_quota("9223372036854775807 100000"), 256u);
  for (const char* broken : {"", " ", "x y", "100000", "100000 0", "-5 100000", "100000 x"})
    EXPECT_EQ(cores_by_quota(broken), 0u);
  EXPECT_EQ(cores_by_quota("-1\n", "100000\n"), 0u);
  EXPECT_EQ(cores_by_quota("50000\n", "100000\n"), 1u);
  EXPECT_EQ(cores_by_quota("", ""), 0u);
}

TEST(the_chosen_word_stands_in_brackets) {
  EXPECT_EQ(chosen_of_brackets("always [madvise] never\n"), std::string("madvise"));
  EXPECT_EQ(chosen_of_brackets("[always] madvise never"), std::string("always"));
  for (const char* broken : {"", "always", "]x[", "[x"})
    EXPECT_EQ(chosen_of_brackets(broken), std::string("unknown"));
}

TEST(this_machine_is_reported) {
  const HardwareReport report = probe("/proc/self/exe");
  EXPECT(report.usable_cores >= 1 && report.usable_cores <= report.logical_cores);
  EXPECT(default_threads() <= std::max(1u, std::thread::hardware_concurrency()));
  EXPECT(std::find(report.isa_runnable.begin(), report.isa_runnable.end(), report.isa) !=
         report.isa_runnable.end());
  EXPECT(!report.isa_reason.empty());
  EXPECT(report.io.size() >= 2);
  for (const auto& backend : report.io) EXPECT(backend.available || !backend.reason.empty());
  ASSERT(report.direct.has_value());
  EXPECT(report.direct->available || !report.direct->reason.empty());
  EXPECT(!probe("/").direct->available);
  EXPECT(!probe("").direct.has_value());
}

}  // namespace
}  // namespace hypura::runtime
