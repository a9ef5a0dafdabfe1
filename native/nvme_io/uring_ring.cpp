// The layout of the shared memory and the meaning of each flag: io_uring(7), io_uring_setup(2), io_uring_enter(2).
#include "native/nvme_io/uring_ring.h"

#if defined(__linux__)

#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "native/base/check.h"

namespace hypura::nvme_io {
namespace {

// Before 5.19 unknown to the headers as well.
constexpr uint32_t kSetupCoopTaskrun = 1u << 8;
constexpr uint32_t kFeatureSingleMmap = 1u << 0;
constexpr uint32_t kFeatureExtArg = 1u << 8;
constexpr uint32_t kEnterExtArg = 1u << 3;
// A wait is cut into pieces of at most this, so that no sum of times overflows; wait() may return early.
constexpr std::chrono::nanoseconds kWaitMax = std::chrono::hours(1);

// The argument of a timed io_uring_enter, as the kernel reads it.
struct TimedWait {
  uint64_t signal_mask = 0;
  uint32_t signal_mask_bytes = _NSIG / 8;
  uint32_t reserved = 0;
  uint64_t time = 0;  // address of a KernelTime
};
struct KernelTime {
  int64_t seconds = 0;
  int64_t nanoseconds = 0;
};
static_assert(sizeof(TimedWait) == 24 && sizeof(KernelTime) == 16);

int enter(int fd, uint32_t to_submit, uint32_t least, uint32_t flags, const void* argument,
          size_t argument_bytes) {
  const long result =
      ::syscall(__NR_io_uring_enter, fd, to_submit, least, flags, argument, argument_bytes);
  return result < 0 ? -errno : static_cast<int>(result);
}

Status refused(const char* call, int errno_value) {
  const char* cause = "";
  Code code = Code::kUnsupported;
  switch (errno_value) {
    case EPERM:
    case EACCES:
      cause = " (seccomp, a security module or sysctl kernel.io_uring_disabled)";
      break;
    case ENOSYS:
      cause = " (the kernel is older than 5.1, built without it, or seccomp hides it)";
      break;
    case ENOMEM:
      cause = " (no memory, or RLIMIT_MEMLOCK on a kernel before 5.12)";
      code = Code::kInsufficientMemory;
      break;
    default:
      break;
  }
  return Status(Status::Detail{
      .code = code,
      .message = std::string(call) + ": " + std::strerror(errno_value) + cause,
      .errno_value = errno_value,
      .file = {},
      .offset_bytes = {}});
}

}  // namespace

Result<UringRing> UringRing::create(uint32_t entries, UringFeatures features) {
  UringRing ring;
  HYPURA_TRY(ring.set_up(entries, features));
  HYPURA_TRY(ring.check_read_is_supported());
  return ring;
}

Status UringRing::set_up(uint32_t entries, const UringFeatures& features) {
  io_uring_params params{};
  if (features.coop_taskrun) params.flags = kSetupCoopTaskrun;
  fd_ = static_cast<int>(::syscall(__NR_io_uring_setup, entries, &params));
  if (fd_ < 0 && errno == EINVAL && params.flags != 0) {  // a kernel that does not know the flag
    params = {};
    fd_ = static_cast<int>(::syscall(__NR_io_uring_setup, entries, &params));
  }
  if (fd_ < 0) return refused("io_uring_setup", errno);
  if ((params.features & kFeatureSingleMmap) == 0)
    return Status::error(Code::kUnsupported, "io_uring: the kernel is older than 5.6");
  timed_enter_ = features.timed_enter && (params.features & kFeatureExtArg) != 0;

  rings_bytes_ = std::max<uint64_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                    params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  entries_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  const auto map = [this](uint64_t bytes, off_t what) {
    return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, what);
  };
  void* const rings = map(rings_bytes_, IORING_OFF_SQ_RING);
  if (rings == MAP_FAILED) return refused("mmap of the io_uring rings", errno);
  rings_ = static_cast<std::byte*>(rings);
  void* const sqes = map(entries_bytes_, IORING_OFF_SQES);
  if (sqes == MAP_FAILED) return refused("mmap of the io_uring entries", errno);
  entries_ = static_cast<io_uring_sqe*>(sqes);
  (void)::madvise(rings_, rings_bytes_, MADV_DONTFORK);
  (void)::madvise(entries_, entries_bytes_, MADV_DONTFORK);

  const auto word = [this](uint32_t at) { return reinterpret_cast<uint32_t*>(rings_ + at); };
  sq_head_ = word(params.sq_off.head);
  sq_tail_ = word(params.sq_off.tail);
  sq_index_ = word(params.sq_off.array);
  sq_mask_ = *word(params.sq_off.ring_mask);
  cq_head_ = word(params.cq_off.head);
  cq_tail_ = word(params.cq_off.tail);
  cq_mask_ = *word(params.cq_off.ring_mask);
  completions_ = reinterpret_cast<const io_uring_cqe*>(rings_ + params.cq_off.cqes);
  for (uint32_t i = 0; i < params.sq_entries; ++i) sq_index_[i] = i;
  return Status();
}

Status UringRing::check_read_is_supported() const {
  constexpr uint32_t kOperations = 256;
  std::vector<std::byte> memory(sizeof(io_uring_probe) + kOperations * sizeof(io_uring_probe_op));
  if (::syscall(__NR_io_uring_register, fd_, IORING_REGISTER_PROBE, memory.data(), kOperations) < 0)
    return refused("io_uring_register(probe)", errno);
  io_uring_probe head;
  std::memcpy(&head, memory.data(), sizeof(head));
  io_uring_probe_op read;
  std::memcpy(&read, memory.data() + sizeof(head) + IORING_OP_READ * sizeof(read), sizeof(read));
  if (head.last_op < IORING_OP_READ || (read.flags & IO_URING_OP_SUPPORTED) == 0)
    return Status::error(Code::kUnsupported, "io_uring: the kernel has no IORING_OP_READ");
  return Status();
}

UringRing::UringRing(UringRing&& other) noexcept { *this = std::move(other); }

UringRing& UringRing::operator=(UringRing&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(timed_enter_, other.timed_enter_);
  std::swap(rings_, other.rings_);
  std::swap(rings_bytes_, other.rings_bytes_);
  std::swap(entries_, other.entries_);
  std::swap(entries_bytes_, other.entries_bytes_);
  std::swap(sq_head_, other.sq_head_);
  std::swap(sq_tail_, other.sq_tail_);
  std::swap(sq_index_, other.sq_index_);
  std::swap(sq_mask_, other.sq_mask_);
  std::swap(cq_head_, other.cq_head_);
  std::swap(cq_tail_, other.cq_tail_);
  std::swap(completions_, other.completions_);
  std::swap(cq_mask_, other.cq_mask_);
  return *this;
}

UringRing::~UringRing() {
  if (entries_ != nullptr) ::munmap(entries_, entries_bytes_);
  if (rings_ != nullptr) ::munmap(rings_, rings_bytes_);
  if (fd_ >= 0) ::close(fd_);
}

void UringRing::push_read(int fd, std::byte* into, uint32_t bytes, uint64_t offset_bytes,
                          uint64_t user_data) {
  const uint32_t tail = *sq_tail_;  // only this side writes it
  CHECK(tail - std::atomic_ref(*sq_head_).load(std::memory_order_acquire) <= sq_mask_);
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_READ;
  entry.fd = fd;
  entry.off = offset_bytes;
  entry.addr = reinterpret_cast<uintptr_t>(into);
  entry.len = bytes;
  entry.user_data = user_data;
  entries_[tail & sq_mask_] = entry;
  // Release: the kernel that sees the tail sees the entry.
  std::atomic_ref(*sq_tail_).store(tail + 1, std::memory_order_release);
}

UringRing::Submitted UringRing::submit() {
  Submitted done;
  for (;;) {
    // Acquire: pairs with the kernel's release after it has copied an entry.
    const uint32_t head = std::atomic_ref(*sq_head_).load(std::memory_order_acquire);
    const uint32_t waiting = *sq_tail_ - head;
    if (waiting == 0) return done;
    const int result = enter(fd_, waiting, 0, 0, nullptr, 0);
    if (result > 0) {
      done.taken += static_cast<uint32_t>(result);
    } else if (result != -EINTR) {
      done.errno_value = result == 0 ? EAGAIN : -result;
      // Without SQPOLL the kernel looks at the queue inside of io_uring_enter only, so the tail can be taken back.
      const uint32_t consumed = std::atomic_ref(*sq_head_).load(std::memory_order_acquire);
      std::atomic_ref(*sq_tail_).store(consumed, std::memory_order_release);
      return done;
    }
  }
}

bool UringRing::pop(Completion& completion) {
  const uint32_t head = *cq_head_;  // only this side writes it
  // Acquire: pairs with the kernel's release after it has written the completion (and the data before it).
  if (std::atomic_ref(*cq_tail_).load(std::memory_order_acquire) == head) return false;
  const io_uring_cqe& entry = completions_[head & cq_mask_];
  completion = {.user_data = entry.user_data, .result = entry.res};
  // Release: the kernel reuses the place after it sees the head.
  std::atomic_ref(*cq_head_).store(head + 1, std::memory_order_release);
  return true;
}

void UringRing::wait(std::chrono::nanoseconds wait) {
  wait = std::clamp(wait, std::chrono::nanoseconds(0), kWaitMax);
  constexpr int64_t kSecond = 1'000'000'000;
  KernelTime time{.seconds = wait.count() / kSecond, .nanoseconds = wait.count() % kSecond};
  int result = 0;
  if (wait.count() > 0 && timed_enter_) {
    TimedWait argument;
    argument.time = reinterpret_cast<uintptr_t>(&time);
    result = enter(fd_, 0, 1, IORING_ENTER_GETEVENTS | kEnterExtArg, &argument, sizeof(argument));
  } else {
    if (wait.count() > 0) {
      pollfd ring{.fd = fd_, .events = POLLIN, .revents = 0};
      timespec poll_time{};
      poll_time.tv_sec = static_cast<time_t>(time.seconds);
      poll_time.tv_nsec = static_cast<long>(time.nanoseconds);
      (void)::ppoll(&ring, 1, &poll_time, nullptr);
    }
    result = enter(fd_, 0, 0, IORING_ENTER_GETEVENTS, nullptr, 0);
  }
  if (result >= 0 || result == -ETIME || result == -EINTR) return;
  // The kernel is short of something, or the host forbade the call in the meantime. What finishes is posted all the same,
  // so the caller asks again, but not in a tight loop.
  const timespec pause{.tv_sec = 0, .tv_nsec = wait.count() > 0 ? 1'000'000 : 0};
  (void)::nanosleep(&pause, nullptr);
}

}  // namespace hypura::nvme_io

#endif  // __linux__
