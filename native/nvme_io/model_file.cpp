// POSIX. Linux has O_DIRECT, macOS F_NOCACHE (written to its documentation, not run); elsewhere files are buffered.
#include "native/nvme_io/model_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "native/base/limits.h"

namespace hypura::nvme_io {
namespace {

Status io_error(const std::string& path, const char* what, int errno_value,
                std::optional<uint64_t> offset_bytes = std::nullopt) {
  return Status(Status::Detail{
      .code = Code::kIo,
      .message = path + " " + what + ": " + std::strerror(errno_value) + ".",
      .errno_value = errno_value,
      .file = {},
      .offset_bytes = offset_bytes});
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "no file";
}

int64_t mtime_ns(const struct stat& facts) {
#if defined(__APPLE__)
  const struct timespec& time = facts.st_mtimespec;
#else
  const struct timespec& time = facts.st_mtim;
#endif
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// The device is not compared: its number may differ after the same drive was mounted again.
Status compare(const std::string& path, const FileIdentity& seen, const struct stat& facts) {
  std::string differs;
  const auto note = [&differs](const char* what, auto before, auto now) {
    if (before == now) return;
    if (!differs.empty()) differs += ", ";
    differs += what + std::to_string(before) + " -> " + std::to_string(now);
  };
  note("size in bytes ", seen.size_bytes, static_cast<uint64_t>(facts.st_size));
  note("modification time in ns ", seen.mtime_ns, mtime_ns(facts));
  note("inode ", seen.inode, static_cast<uint64_t>(facts.st_ino));
  if (differs.empty()) return Status();
  return Status::error(Code::kModelChanged,
                       path + " is not the file that was indexed: " + differs + ". Load it again.");
}

struct Direct {
  bool works = false;
  uint32_t alignment_bytes = kDirectAlignmentBytes;
  std::string reason;  // when it does not work
};

#if defined(__linux__)
// What the file system asks of direct reads: a power of two, or a reason why it takes none.
Direct ask_alignment(int fd) {
  Direct answer{.works = true, .reason = {}};
#if defined(STATX_DIOALIGN)  // Linux 6.1, for ext4, xfs, f2fs and block devices
  struct statx facts {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) != 0) return answer;
  if ((facts.stx_mask & STATX_DIOALIGN) == 0) return answer;
  const uint32_t asked = std::max(facts.stx_dio_mem_align, facts.stx_dio_offset_align);
  if (facts.stx_dio_offset_align == 0) {
    return {.works = false,
            .reason = "the file system reads this file through the page cache only"};
  }
  if (!std::has_single_bit(asked) || asked > kDirectAlignmentBytes) {
    return {.works = false,
            .reason = "the file system asks for an alignment of " + std::to_string(asked) +
                      " bytes, hypura reads at multiples of " +
                      std::to_string(kDirectAlignmentBytes)};
  }
  answer.alignment_bytes = asked;
#endif
  return answer;
}

// Some file systems accept the flag and refuse the read: only a read proves it. Nothing but EINVAL and EOPNOTSUPP means
// "not directly"; any other error would hit a buffered read too.
Result<Direct> try_direct(const std::string& path, int fd) {
  Direct answer = ask_alignment(fd);
  if (!answer.works) return answer;
  if (::fcntl(fd, F_SETFL, O_DIRECT) != 0) {
    answer.works = false;
    answer.reason = std::string("the file system refuses O_DIRECT: ") + std::strerror(errno);
    return answer;
  }
  const std::unique_ptr<void, decltype(&std::free)> page(
      std::aligned_alloc(kDirectAlignmentBytes, kDirectAlignmentBytes), &std::free);
  if (page == nullptr)
    return Status::error(Code::kInsufficientMemory, "no memory for one page to test " + path);
  ssize_t got = 0;
  do {
    got = ::pread(fd, page.get(), answer.alignment_bytes, 0);
  } while (got < 0 && errno == EINTR);
  if (got >= 0) return answer;
  if (errno != EINVAL && errno != EOPNOTSUPP)
    return io_error(path, "could not be read at its begin", errno, 0);
  answer.works = false;
  answer.reason = std::string("a direct read was refused: ") + std::strerror(errno);
  return answer;
}
#elif defined(__APPLE__)
Result<Direct> try_direct(const std::string&, int fd) {
  Direct answer;
  answer.works = ::fcntl(fd, F_SETFL, 0) == 0 && ::fcntl(fd, F_NOCACHE, 1) == 0;
  if (!answer.works) answer.reason = std::string("F_NOCACHE: ") + std::strerror(errno);
  return answer;
}
#else
Result<Direct> try_direct(const std::string&, int) {
  return Direct{.reason = "direct reads are not built for this system"};
}
#endif

}  // namespace

Result<FileIdentity> identity_of_file(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) return io_error(path, "could not be examined", errno);
  return FileIdentity{.size_bytes = static_cast<uint64_t>(facts.st_size),
                      .mtime_ns = mtime_ns(facts),
                      .inode = facts.st_ino,
                      .device = static_cast<uint64_t>(facts.st_dev)};
}

Result<ModelFile> ModelFile::open(const std::string& path, const FileIdentity& expected,
                                  bool direct) {
  if (path.empty() || path.find('\0') != std::string::npos)
    return Status::error(Code::kInvalidArgument, "a model path is empty or has a zero byte in it");

  // O_NONBLOCK: opening a named pipe would wait for a writer. F_SETFL below takes it away again, since an asynchronous
  // read of a descriptor that has it may end in EAGAIN.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return io_error(path, "could not be opened", errno);
  ModelFile file;
  file.fd_ = fd;  // closed by the destructor from here on
  file.path_ = path;
  file.identity_ = expected;

  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return io_error(path, "could not be examined", errno);
  if (!S_ISREG(facts.st_mode)) {
    return Status::error(Code::kInvalidArgument, path + " is " + kind_of(facts.st_mode) +
                                                     ", a model is a regular file.");
  }
  HYPURA_TRY(compare(path, expected, facts));

  if (direct) {
    HYPURA_TRY_ASSIGN(Direct answer, try_direct(path, fd));
    file.direct_ = answer.works;
    file.alignment_bytes_ = answer.alignment_bytes;
    file.direct_reason_ = std::move(answer.reason);
  } else {
    file.direct_reason_ = "buffered reads were asked for";
  }
  if (!file.direct_ && ::fcntl(fd, F_SETFL, 0) != 0)
    return io_error(path, "could not be set to buffered reads", errno);
  return file;
}

ModelFile::ModelFile(ModelFile&& other) noexcept { *this = std::move(other); }

ModelFile& ModelFile::operator=(ModelFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(direct_, other.direct_);
  std::swap(alignment_bytes_, other.alignment_bytes_);
  std::swap(identity_, other.identity_);
  std::swap(path_, other.path_);
  std::swap(direct_reason_, other.direct_reason_);
  return *this;
}

ModelFile::~ModelFile() {
  if (fd_ >= 0) ::close(fd_);
}

int ModelFile::fd() const { return fd_; }
bool ModelFile::direct() const { return direct_; }
const std::string& ModelFile::direct_reason() const { return direct_reason_; }
uint64_t ModelFile::size_bytes() const { return identity_.size_bytes; }
uint32_t ModelFile::alignment_bytes() const { return alignment_bytes_; }
const std::string& ModelFile::path() const { return path_; }

Status ModelFile::check_unchanged() const {
  struct stat facts {};
  if (::fstat(fd_, &facts) != 0) return io_error(path_, "could not be examined", errno);
  return compare(path_, identity_, facts);
}

}  // namespace hypura::nvme_io
