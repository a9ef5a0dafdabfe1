// A drive in memory for tests: serves the bytes of a TestModel, misbehaves on request, and checks its user.
//
// It asserts what a kernel would punish silently: alignment, a buffer handed to two outstanding reads, more reads than the
// depth. Memory of a submitted read is scribbled over at once and again with the right bytes when the read is reaped, so
// whoever looks at it in between, or gave it away, sees garbage.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <set>
#include <vector>

#include "native/base/testing.h"
#include "native/nvme_io/io_backend.h"

namespace hypura::scheduler {

// Shared between the test and the backend that the I/O thread owns.
struct DriveFaults {
  // Chance of each per read, in percent.
  uint32_t error_percent = 0;
  uint32_t short_percent = 0;
  uint32_t busy_percent = 0;
  uint32_t end_percent = 0;
  uint32_t double_percent = 0;
  uint32_t refuse_percent = 0;
  bool reorder = false;
  bool error_always = false;
  uint32_t errors_next = 0;        // this many reads fail, then no more
  uint32_t short_bytes_next = 0;   // the next read returns this many bytes; once
  uint64_t file_end_bytes = ~0ull; // files are cut here
  bool stalled = false;            // nothing comes back
  uint64_t stall_offset = ~0ull;   // reads at this offset do not come back
  uint32_t alignment_bytes = 4096;
  uint32_t bad_copies = 0;         // as bits: every read of these ends with bad_result
  int32_t bad_result = -EIO;
};

class Drive {
 public:
  struct Submitted {
    int fd;
    uint64_t offset_bytes;
    uint32_t bytes;
    const std::byte* into;
    uint32_t copy;
  };

  explicit Drive(uint64_t seed) : random_(seed) {}

  template <typename Change>
  void change(Change&& apply) {
    {
      const std::lock_guard lock(mutex);
      apply(faults);
    }
    woken.notify_all();
  }
  std::vector<Submitted> submitted() {
    const std::lock_guard lock(mutex);
    return log;
  }
  uint32_t outstanding() {
    const std::lock_guard lock(mutex);
    return static_cast<uint32_t>(pending.size());
  }
  bool chance(uint32_t percent) { return percent > 0 && random_() % 100 < percent; }
  uint64_t below(uint64_t limit) { return random_() % limit; }

  std::mutex mutex;
  std::condition_variable woken;
  DriveFaults faults;
  std::vector<std::pair<int, const std::vector<std::byte>*>> files;  // by descriptor
  std::vector<nvme_io::Read> pending;
  std::vector<nvme_io::ReadDone> echoes;  // completions to be sent a second time
  std::vector<Submitted> log;
  std::multiset<uint32_t> depths;  // outstanding after each submit
  bool wake = false;
  std::atomic<uint64_t> reaps{0};

 private:
  std::mt19937_64 random_;
};

class FakeIo final : public nvme_io::IoBackend {
 public:
  FakeIo(Drive& drive, uint32_t depth) : drive_(drive), depth_(depth) {}
  // As a kernel does, it writes to the last: the memory of outstanding reads must still be there.
  ~FakeIo() override {
    for (const nvme_io::Read& read : drive_.pending) std::memset(read.into, 0xee, read.bytes);
    drive_.pending.clear();
  }

  nvme_io::Capabilities capabilities() const override { return {"memory", true, depth_}; }

  uint32_t submit(std::span<const nvme_io::Read> reads) override {
    const std::lock_guard lock(drive_.mutex);
    uint32_t taken = 0;
    for (const nvme_io::Read& read : reads) {
      if (drive_.pending.size() == depth_ || drive_.chance(drive_.faults.refuse_percent)) break;
      const uint64_t mask = drive_.faults.alignment_bytes - 1;
      EXPECT((read.offset_bytes & mask) == 0 && (read.bytes & mask) == 0);
      EXPECT((reinterpret_cast<uintptr_t>(read.into) & mask) == 0);
      EXPECT(read.bytes > 0 && read.bytes <= kReadBytesMax);
      for (const nvme_io::Read& other : drive_.pending)
        EXPECT(read.into + read.bytes <= other.into || other.into + other.bytes <= read.into);
      std::memset(read.into, 0xee, read.bytes);
      drive_.pending.push_back(read);
      drive_.log.push_back({read.fd, read.offset_bytes, read.bytes, read.into, read.copy});
      ++taken;
    }
    drive_.depths.insert(static_cast<uint32_t>(drive_.pending.size()));
    return taken;
  }

  uint32_t reap(std::span<nvme_io::ReadDone> done, std::chrono::nanoseconds wait) override {
    drive_.reaps.fetch_add(1);
    std::unique_lock lock(drive_.mutex);
    drive_.woken.wait_for(lock, wait, [&] {
      return drive_.wake || !drive_.echoes.empty() || next() != drive_.pending.size();
    });
    drive_.wake = false;
    uint32_t count = 0;
    while (count < done.size() && !drive_.echoes.empty()) {
      done[count++] = drive_.echoes.back();
      drive_.echoes.pop_back();
    }
    const size_t most = 1 + drive_.below(done.size());
    while (count < most) {
      const size_t i = next();
      if (i == drive_.pending.size()) break;
      const nvme_io::Read read = drive_.pending[i];
      drive_.pending.erase(drive_.pending.begin() + static_cast<long>(i));
      done[count++] = {read.tag, serve(read)};
      if (drive_.chance(drive_.faults.double_percent)) drive_.echoes.push_back(done[count - 1]);
    }
    return count;
  }

  void wake() override {
    {
      const std::lock_guard lock(drive_.mutex);
      drive_.wake = true;
    }
    drive_.woken.notify_all();
  }

 private:
  // A pending read that may come back, or the number of them.
  size_t next() {
    if (drive_.faults.stalled) return drive_.pending.size();
    std::vector<size_t> free;
    for (size_t i = 0; i < drive_.pending.size(); ++i)
      if (drive_.pending[i].offset_bytes != drive_.faults.stall_offset) free.push_back(i);
    if (free.empty()) return drive_.pending.size();
    return drive_.faults.reorder ? free[drive_.below(free.size())] : free.front();
  }

  int32_t serve(const nvme_io::Read& read) {
    DriveFaults& faults = drive_.faults;
    if ((faults.bad_copies >> read.copy & 1) != 0) return faults.bad_result;
    if (faults.error_always || drive_.chance(faults.error_percent)) return -EIO;
    if (faults.errors_next > 0) {
      --faults.errors_next;
      return -EIO;
    }
    if (drive_.chance(faults.busy_percent)) return drive_.below(2) ? -EAGAIN : -EINTR;
    if (drive_.chance(faults.end_percent)) return 0;
    const std::vector<std::byte>* file = nullptr;
    for (const auto& [fd, bytes] : drive_.files)
      if (fd == read.fd) file = bytes;
    if (file == nullptr) return -EBADF;
    const uint64_t end = std::min<uint64_t>(file->size(), faults.file_end_bytes);
    if (read.offset_bytes >= end) return 0;
    uint64_t bytes = std::min<uint64_t>(read.bytes, end - read.offset_bytes);
    if (faults.short_bytes_next > 0)
      bytes = std::min<uint64_t>(bytes, std::exchange(faults.short_bytes_next, 0));
    else if (drive_.chance(faults.short_percent))
      bytes = 1 + drive_.below(bytes);
    std::memcpy(read.into, file->data() + read.offset_bytes, bytes);
    return static_cast<int32_t>(bytes);
  }

  Drive& drive_;
  const uint32_t depth_;
};

}  // namespace hypura::scheduler
