#include "native/nvme_io/uring.h"

#if defined(__linux__)

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "native/base/limits.h"

namespace hypura::nvme_io {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

// user_data of the read that waits for wake(); reads carry the index of their slot.
constexpr uint64_t kWakeUserData = ~uint64_t{0};

// Thread: submit() and reap() by one thread at a time, wake() by any. Fields belong to the former; event_fd_ is const.
// Allocates: in the constructor, never later.
// Holds always: every slot is either in free_slots_, or its read is in the kernel (in_kernel_), or it is refused_.
class Uring final : public IoBackend {
 public:
  Uring(UringRing ring, int event_fd, uint32_t depth)
      : ring_(std::move(ring)), event_fd_(event_fd), depth_(depth) {
    for (uint32_t slot = depth; slot > 0; --slot) free_slots_[free_count_++] = slot - 1;
  }

  ~Uring() override {
    // The wake read has the address of a member, so it is waited for like the others.
    wake();
    UringRing::Completion completion;
    while (in_kernel_ > 0 || wake_armed_) {
      if (ring_.pop(completion)) {
        settle(completion);
      } else {
        ring_.wait(std::chrono::seconds(1));
      }
    }
    ::close(event_fd_);
  }

  Capabilities capabilities() const override {
    return {.name = "uring", .direct = true, .depth_max = depth_};
  }

  uint32_t submit(std::span<const Read> reads) override {
    if (refused_) return 0;  // the failure of an earlier one comes first
    const uint32_t wanted =
        std::min(static_cast<uint32_t>(std::min<size_t>(reads.size(), depth_)), free_count_);
    std::array<uint32_t, kIoDepthMax> slots;
    for (uint32_t i = 0; i < wanted; ++i) {
      const Read& read = reads[i];
      check_read(read);
      slots[i] = free_slots_[--free_count_];
      tags_[slots[i]] = read.tag;
      ring_.push_read(read.fd, read.into, read.bytes, read.offset_bytes, slots[i]);
    }
    if (wanted == 0) return 0;
    const UringRing::Submitted submitted = ring_.submit();
    in_kernel_ += submitted.taken;
    for (uint32_t i = wanted; i > submitted.taken; --i) free_slots_[free_count_++] = slots[i - 1];
    if (submitted.taken == wanted || in_kernel_ > 0) return submitted.taken;
    // Nothing is in the kernel whose end could make room: waiting would be for ever. The first one failed.
    refused_ = ReadDone{.tag = reads[0].tag, .result = -submitted.errno_value};
    --free_count_;  // reads[0] had the slot given back last
    refused_slot_ = slots[0];
    return 1;
  }

  uint32_t reap(std::span<ReadDone> done, nanoseconds wait) override {
    if (done.empty()) return 0;
    const auto longest = std::clamp<nanoseconds>(wait, nanoseconds(0), std::chrono::hours(1));
    const steady_clock::time_point end = steady_clock::now() + longest;
    bool asked_the_kernel = false;
    for (;;) {
      const uint32_t count = take(done);
      if (std::exchange(woken_, false) || count > 0) return count;
      const nanoseconds left = end - steady_clock::now();
      if (left.count() <= 0 && asked_the_kernel) return 0;
      // A wake read that could not be armed (no memory) must not make wake() deaf.
      const bool deaf = !arm_wake();
      ring_.wait(deaf ? std::min<nanoseconds>(left, std::chrono::milliseconds(1)) : left);
      asked_the_kernel = true;
    }
  }

  void wake() override {
    const uint64_t one = 1;
    while (::write(event_fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }

  // Whether wake() works here: without it a waiting reap() would sleep through new requests.
  bool hears_wake() {
    wake();
    std::array<ReadDone, 1> none;
    const steady_clock::time_point begin = steady_clock::now();
    (void)reap(none, std::chrono::seconds(1));
    return steady_clock::now() - begin < std::chrono::seconds(1);
  }

 private:
  uint32_t take(std::span<ReadDone> done) {
    uint32_t count = 0;
    if (refused_) {
      done[count++] = *refused_;
      refused_.reset();
      free_slots_[free_count_++] = refused_slot_;
    }
    UringRing::Completion completion;
    while (count < done.size() && ring_.pop(completion)) {
      if (completion.user_data != kWakeUserData) {
        const auto slot = static_cast<uint32_t>(completion.user_data);
        done[count++] = {.tag = tags_[slot], .result = completion.result};
      }
      settle(completion);
    }
    return count;
  }

  void settle(const UringRing::Completion& completion) {
    if (completion.user_data == kWakeUserData) {
      wake_armed_ = false;
      // An error (the thread that armed it has ended, no memory) is not a wake(); the event stays for the next read.
      woken_ = woken_ || completion.result > 0;
      return;
    }
    --in_kernel_;
    free_slots_[free_count_++] = static_cast<uint32_t>(completion.user_data);
  }

  // Keeps one read of the event descriptor in the ring: it completes when wake() writes.
  bool arm_wake() {
    if (wake_armed_) return true;
    ring_.push_read(event_fd_, reinterpret_cast<std::byte*>(&wake_count_), sizeof(wake_count_), 0,
                    kWakeUserData);
    wake_armed_ = ring_.submit().taken == 1;
    return wake_armed_;
  }

  UringRing ring_;
  const int event_fd_;
  const uint32_t depth_;
  uint64_t wake_count_ = 0;  // written by the kernel
  bool wake_armed_ = false;
  bool woken_ = false;
  uint32_t in_kernel_ = 0;   // reads, without the one for wake()
  std::optional<ReadDone> refused_;
  uint32_t refused_slot_ = 0;
  uint32_t free_count_ = 0;
  std::array<uint32_t, kIoDepthMax> free_slots_{};
  std::array<uint64_t, kIoDepthMax> tags_{};
};

}  // namespace

Status probe_uring() { return open_uring(1).status(); }

Result<std::unique_ptr<IoBackend>> open_uring(uint32_t depth, UringFeatures features) {
  HYPURA_TRY_ASSIGN(UringRing ring, UringRing::create(depth, features));
  const int event_fd = ::eventfd(0, EFD_CLOEXEC);
  if (event_fd < 0) {
    return Status(Status::Detail{.code = Code::kUnsupported,
                                 .message = std::string("eventfd: ") + std::strerror(errno),
                                 .errno_value = errno,
                                 .file = {},
                                 .offset_bytes = {}});
  }
  auto backend = std::make_unique<Uring>(std::move(ring), event_fd, depth);
  if (!backend->hears_wake())
    return Status::error(Code::kUnsupported, "io_uring: a read of an eventfd does not complete");
  return std::unique_ptr<IoBackend>(std::move(backend));
}

}  // namespace hypura::nvme_io

#endif  // __linux__
