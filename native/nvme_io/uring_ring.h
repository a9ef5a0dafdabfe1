// Linux only. One io_uring as the kernel offers it: two rings of shared memory and three system calls, without liburing.
//
// Why raw: the few calls hypura needs stay the same in prebuilt and source builds, and no library has to be found.
// Set up with COOP_TASKRUN where the kernel knows it (5.19). Not with SINGLE_ISSUER and DEFER_TASKRUN: they bind the ring
// to one thread, and the destructor of a backend must be able to wait for outstanding reads from any thread, also when the
// I/O thread is gone. Nothing is lost: three interleaved runs gave 4.1 GB/s both ways (1 MiB, depth 8; virtual disk).
// Holds always: between two calls the submission queue is empty, and no more requests are in the kernel than fit the
// completion queue (entries of create() + 1), so it never overflows.
// Thread: one at a time.   Allocates: in create(), never later.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "native/base/status.h"

struct io_uring_sqe;
struct io_uring_cqe;

namespace hypura::nvme_io {

// What a test takes away to run the way of an older kernel.
struct UringFeatures {
  bool coop_taskrun = true;  // 5.19
  bool timed_enter = true;   // 5.11, IORING_FEAT_EXT_ARG: else the wait is a poll() of the ring
};

class UringRing {
 public:
  struct Completion {
    uint64_t user_data = 0;
    int32_t result = 0;
  };

  // entries: reads that are pushed before one submit(). Also asks whether IORING_OP_READ is there.
  // Error: kUnsupported (forbidden or too old, with the likely cause), kInsufficientMemory.
  static Result<UringRing> create(uint32_t entries, UringFeatures features = {});
  UringRing(UringRing&& other) noexcept;
  UringRing& operator=(UringRing&& other) noexcept;
  ~UringRing();

  // At most `entries` between two submits.
  void push_read(int fd, std::byte* into, uint32_t bytes, uint64_t offset_bytes,
                 uint64_t user_data);
  struct Submitted {
    uint32_t taken = 0;        // from the front of what was pushed
    int32_t errno_value = 0;   // why the rest was not: it is forgotten
  };
  Submitted submit();

  // The next completion that is there already.
  bool pop(Completion& completion);
  // Returns when a completion is there, when `wait` is over, or earlier for no reason. Zero: only lets the kernel post
  // what it has finished.
  void wait(std::chrono::nanoseconds wait);

 private:
  UringRing() = default;
  Status set_up(uint32_t entries, const UringFeatures& features);
  Status check_read_is_supported() const;

  int fd_ = -1;
  bool timed_enter_ = false;
  std::byte* rings_ = nullptr;      // both rings, one mapping
  uint64_t rings_bytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  uint64_t entries_bytes_ = 0;
  // Into rings_. The kernel writes sq_head and cq_tail, this side sq_tail and cq_head.
  uint32_t* sq_head_ = nullptr;
  uint32_t* sq_tail_ = nullptr;
  uint32_t* sq_index_ = nullptr;    // which entry stands at a place of the ring: always its own
  uint32_t sq_mask_ = 0;
  uint32_t* cq_head_ = nullptr;
  uint32_t* cq_tail_ = nullptr;
  const io_uring_cqe* completions_ = nullptr;
  uint32_t cq_mask_ = 0;
};

}  // namespace hypura::nvme_io
