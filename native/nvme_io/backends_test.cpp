// What could break: a machine that forbids io_uring gets no engine at all, or falls back without saying why.
// How we notice: a seccomp filter forbids it for real, in one thread; the chosen backend and the reason are compared.
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "native/base/testing.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/io_testing.h"

#if defined(__linux__)
#include <sys/syscall.h>
#endif

namespace hypura::nvme_io {
namespace {

using namespace hypura::nvme_io::testing;

class Disabled {
 public:
  explicit Disabled(const char* names) { ::setenv("HYPURA_IO_DISABLE", names, 1); }
  ~Disabled() { ::unsetenv("HYPURA_IO_DISABLE"); }
};
std::string name_of(const OpenedBackend& opened) { return opened.backend->capabilities().name; }
bool mentions(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

TEST(auto_takes_the_first_that_can_run) {
  const std::vector<BackendReport> reports = probe_backends();
  ASSERT(reports.size() == 3);
  EXPECT_EQ(reports[0].name, std::string("uring"));
  EXPECT_EQ(reports[1].name, std::string("pread"));
  EXPECT_EQ(reports[2].name, std::string("buffered"));
  for (const BackendReport& report : reports) EXPECT_EQ(report.available, report.reason.empty());

  Result<OpenedBackend> opened = open_backend(BackendChoice::kAuto, kIoDepthDefault);
  ASSERT(opened.ok());
  EXPECT_EQ(name_of(*opened), std::string(reports[0].available ? "uring" : "pread"));
  EXPECT(reports[0].available ? opened->reason == "first choice"
                              : mentions(opened->reason, reports[0].reason));
}

TEST(a_backend_that_is_asked_for_is_taken_or_refused_never_replaced) {
  for (const auto& [choice, name] : {std::pair{BackendChoice::kPread, "pread"},
                                     std::pair{BackendChoice::kBuffered, "buffered"}}) {
    Result<OpenedBackend> opened = open_backend(choice, 4);
    ASSERT(opened.ok());
    EXPECT_EQ(name_of(*opened), std::string(name));
    const Disabled disabled(name);
    const Status status = open_backend(choice, 4).status();
    EXPECT(status.code() == Code::kUnsupported);
    EXPECT(mentions(status.message(), "HYPURA_IO_DISABLE") && mentions(status.message(), name));
  }
}

TEST(disabled_backends_fall_out_with_that_reason) {
  {
    const Disabled disabled(" uring ,");
    Result<OpenedBackend> opened = open_backend(BackendChoice::kAuto, 4);
    ASSERT(opened.ok());
    EXPECT_EQ(name_of(*opened), std::string("pread"));
    EXPECT(mentions(opened->reason, "uring: disabled"));
    EXPECT(mentions(opened->reason, "HYPURA_IO_DISABLE"));
    EXPECT(!probe_backends()[0].available);
  }
  {
    const Disabled disabled("pread,uring");
    Result<OpenedBackend> opened = open_backend(BackendChoice::kAuto, 4);
    ASSERT(opened.ok());
    EXPECT_EQ(name_of(*opened), std::string("buffered"));
  }
  {
    const Disabled disabled("uring,pread,buffered");
    EXPECT(open_backend(BackendChoice::kAuto, 4).status().code() == Code::kUnsupported);
  }
  {
    const Disabled disabled("io_uring");  // misspelt: must not be ignored
    const Status status = open_backend(BackendChoice::kAuto, 4).status();
    EXPECT(status.code() == Code::kInvalidArgument && mentions(status.message(), "\"io_uring\""));
  }
}

TEST(the_depth_has_bounds) {
  for (const uint32_t depth : {0u, kIoDepthMax + 1, ~0u}) {
    EXPECT(open_backend(BackendChoice::kAuto, depth).status().code() == Code::kInvalidArgument);
  }
  EXPECT_OK(open_backend(BackendChoice::kAuto, kIoDepthMax).status());
}

#if defined(__linux__)
TEST(where_io_uring_is_forbidden_the_pool_reads_and_the_reason_is_told) {
  struct Case {
    long call;
    uint32_t errno_value;
    const char* reason;
  };
  for (const Case& each : {Case{__NR_io_uring_setup, EPERM, "kernel.io_uring_disabled"},
                           Case{__NR_io_uring_setup, ENOSYS, "built without it"},
                           Case{__NR_io_uring_setup, ENOMEM, "RLIMIT_MEMLOCK"},
                           Case{__NR_io_uring_register, EPERM, "io_uring_register"},
                           Case{__NR_io_uring_enter, EPERM, "eventfd"}}) {
    std::thread([&each] {
      if (!forbid(static_cast<uint32_t>(each.call), each.errno_value)) return skip("no seccomp");
      Result<OpenedBackend> opened = open_backend(BackendChoice::kAuto, 4);
      ASSERT(opened.ok());
      EXPECT_EQ(name_of(*opened), std::string("pread"));
      EXPECT(mentions(opened->reason, each.reason));
      EXPECT(open_backend(BackendChoice::kUring, 4).status().code() == Code::kUnsupported);
      EXPECT(mentions(probe_backends()[0].reason, each.reason));
    }).join();
  }
}
#endif

}  // namespace
}  // namespace hypura::nvme_io
