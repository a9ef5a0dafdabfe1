// The one door to the drive: submit reads, reap completions. A fake one (fault_io.h) comes for free.
//
// A backend moves bytes and knows nothing of blocks, retries or priorities: short reads and errors are reported as they
// are, and scheduler/io_thread.h decides what follows. Destination memory stays the caller's and must stay valid until
// the completion came back, also after a cancel: the kernel may write into it until then.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/base/check.h"
#include "native/base/limits.h"
#include "native/base/status.h"

namespace hypura::nvme_io {

// One request: `bytes` bytes at `offset_bytes` of `fd` into `into`. For a direct descriptor all three are multiples of
// the file's alignment (model_file.h). bytes <= kReadBytesMax.
struct Read {
  uint64_t tag = 0;  // handed back as it is
  int fd = -1;
  uint32_t bytes = 0;
  uint64_t offset_bytes = 0;
  std::byte* into = nullptr;
  uint32_t copy = 0;  // which copy of the model `fd` belongs to; no backend looks at it, fault schedules do
};

// What only a bug of the caller can break. Every backend checks it for each read: a bad descriptor is the machine's
// doing and comes back as -EBADF, a missing buffer is ours.
inline void check_read(const Read& read) {
  CHECK(read.into != nullptr);
  CHECK(read.bytes > 0 && read.bytes <= kReadBytesMax);
  CHECK(read.offset_bytes <= static_cast<uint64_t>(INT64_MAX) - read.bytes);
}

// result: bytes read (possibly fewer than asked, 0 at the end of the file) or -errno.
struct ReadDone {
  uint64_t tag = 0;
  int32_t result = 0;
};

struct Capabilities {
  const char* name = "";      // "uring", "pread", "buffered", "fault"
  bool direct = false;        // reads bypass the page cache (where the file system allows it)
  uint32_t depth_max = 1;     // reads that can be outstanding at once
};

class IoBackend {
 public:
  // Waits for outstanding reads; by any thread, once submit() and reap() are over.
  virtual ~IoBackend() = default;
  virtual Capabilities capabilities() const = 0;
  // Takes reads from the front; returns how many (fewer when `depth_max` are outstanding). Never blocks on the drive.
  // Fewer also while the kernel refuses more (EAGAIN, ENOMEM) and others are outstanding: try again after the next reap().
  // A read that cannot be submitted at all is reported through reap() with its -errno. I/O thread only.
  virtual uint32_t submit(std::span<const Read> reads) = 0;
  // Completions into `done`; returns how many. Waits until there is at least one, until `wait` is over, or until wake().
  // I/O thread only.
  virtual uint32_t reap(std::span<ReadDone> done, std::chrono::nanoseconds wait) = 0;
  // Ends a reap() that waits, or the next one. Thread-safe.
  virtual void wake() = 0;
};

enum class BackendChoice : uint8_t { kAuto, kUring, kPread, kBuffered };

// What `hypura doctor` prints: every backend, whether it can run here, and why not.
struct BackendReport {
  std::string name;
  bool available = false;
  // e.g. "io_uring_setup: Operation not permitted (seccomp, a security module or sysctl kernel.io_uring_disabled)"
  std::string reason;
};

struct OpenedBackend {
  std::unique_ptr<IoBackend> backend;
  std::string reason;  // why this one: "first choice", or what made the better ones fall out
};

// The registry is a constant array in backends.cpp: first that accepts, bound once. Error: kUnsupported when the asked
// one cannot run here, with the reason. drives: how many the reads will go to, so that a slow one does not hold up the
// others where each read takes a thread.
Result<OpenedBackend> open_backend(BackendChoice choice, uint32_t depth, uint32_t drives = 1);
std::vector<BackendReport> probe_backends();

}  // namespace hypura::nvme_io
