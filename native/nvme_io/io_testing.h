// Shared by the tests of this folder: a file whose every byte follows from its position, and aligned memory to read into.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/check.h"
#include "native/nvme_io/model_file.h"

namespace hypura::nvme_io::testing {

// The byte that stands at `offset`. Words differ in all bits, so bytes that land a page, a sector or a byte too far are
// seen.
inline std::byte byte_at(uint64_t offset) {
  uint64_t word = (offset / 8 + 1) * 0x9e3779b97f4a7c15ull;
  word ^= word >> 29;
  word *= 0xbf58476d1ce4e5b9ull;
  return static_cast<std::byte>(word >> (offset % 8 * 8));
}
inline bool holds_file_bytes(std::span<const std::byte> bytes, uint64_t offset) {
  for (size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != byte_at(offset + i)) return false;
  return true;
}

inline FileIdentity identity_of(const std::string& path) {
  struct stat facts {};
  CHECK(::stat(path.c_str(), &facts) == 0);
#if defined(__APPLE__)
  const timespec time = facts.st_mtimespec;
#else
  const timespec time = facts.st_mtim;
#endif
  return {.size_bytes = static_cast<uint64_t>(facts.st_size),
          .mtime_ns = static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec,
          .inode = facts.st_ino,
          .device = facts.st_dev};
}

// A folder of its own, gone with everything in it at the end.
class TempFolder {
 public:
  explicit TempFolder(std::string parent = "") {
    const char* const set = std::getenv("TMPDIR");
    if (parent.empty()) parent = set != nullptr ? set : "/tmp";
    path_ = parent + "/hypura-test-XXXXXX";
    CHECK(::mkdtemp(path_.data()) != nullptr);
  }
  ~TempFolder() {
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  // A path inside that is removed at the end, whatever is made there.
  std::string path(const std::string& name) {
    files_.push_back(path_ + "/" + name);
    return files_.back();
  }
  const std::string& path() const { return path_; }

  std::string file(const std::string& name, uint64_t bytes) {
    const std::string at = path(name);
    const int fd = ::open(at.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    std::vector<std::byte> piece(1u << 20);
    for (uint64_t offset = 0; offset < bytes;) {
      const size_t n = std::min<uint64_t>(piece.size(), bytes - offset);
      for (size_t i = 0; i < n; ++i) piece[i] = byte_at(offset + i);
      CHECK(::write(fd, piece.data(), n) == static_cast<ssize_t>(n));
      offset += n;
    }
    CHECK(::fsync(fd) == 0);
    ::close(fd);
    return at;
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

// Page-aligned memory, filled with a byte that a test chooses.
class Buffer {
 public:
  explicit Buffer(size_t bytes, std::byte fill = std::byte{0x5c})
      : bytes_(bytes),
        data_(static_cast<std::byte*>(std::aligned_alloc(4096, align_up(bytes, 4096)))) {
    CHECK(data_ != nullptr);
    std::memset(data_, static_cast<int>(fill), bytes_);
  }
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }
  std::span<const std::byte> first(size_t n) const { return {data_, n}; }
  bool is_all(std::byte value, size_t begin, size_t end) const {
    for (size_t i = begin; i < end; ++i)
      if (data_[i] != value) return false;
    return true;
  }

 private:
  size_t bytes_;
  std::byte* data_;
};

inline void skip(const std::string& reason) { std::cerr << "  skipped: " << reason << "\n"; }

#if defined(__linux__)
// Forbids one system call for the calling thread and what it starts, as the default profile of containers does.
inline bool forbid(uint32_t call, uint32_t errno_value) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno_value),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = 4, .filter = filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
#endif

// splitmix64; the seed is printed by the test that uses it.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t n) { return next() % n; }

 private:
  uint64_t state_;
};

}  // namespace hypura::nvme_io::testing
