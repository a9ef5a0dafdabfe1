#include "native/nvme_io/pread_pool.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "native/base/limits.h"
#include "native/base/signals.h"

namespace hypura::nvme_io {
namespace {

// A first-in first-out queue in a fixed array; never holds more than kIoDepthMax. Guarded by its owner's mutex.
template <typename T>
class BoundedQueue {
 public:
  bool empty() const { return count_ == 0; }
  void push(const T& value) {
    CHECK(count_ < kIoDepthMax);
    values_[(first_ + count_++) % kIoDepthMax] = value;
  }
  T pop() {
    CHECK(count_ > 0);
    const T value = values_[first_];
    first_ = (first_ + 1) % kIoDepthMax;
    --count_;
    return value;
  }
  void clear() { count_ = 0; }

 private:
  std::array<T, kIoDepthMax> values_{};
  uint32_t first_ = 0;
  uint32_t count_ = 0;
};

int32_t read_once(const Read& read, PageCache page_cache) {
  ssize_t got = 0;
  do {
    got = ::pread(read.fd, read.into, read.bytes, static_cast<off_t>(read.offset_bytes));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return -errno;
#if defined(POSIX_FADV_DONTNEED)
  // Advice: when it is refused, the pages stay in the cache and the system takes them when it needs them.
  if (page_cache == PageCache::kDropped)
    (void)::posix_fadvise(read.fd, static_cast<off_t>(read.offset_bytes), got, POSIX_FADV_DONTNEED);
#endif
  return static_cast<int32_t>(got);
}

// Thread: submit() and reap() by one thread at a time, wake() by any.   Allocates: in start(), never later.
class PreadPool final : public IoBackend {
 public:
  PreadPool(uint32_t depth, PageCache page_cache) : depth_(depth), page_cache_(page_cache) {}

  ~PreadPool() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      queued_.clear();  // never begun: nobody writes into their buffers
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Status start(uint32_t drives) {
    const SignalsBlocked blocked;
    try {
      const uint32_t count = std::min(depth_, drives * kPreadThreads);
      threads_.reserve(count);
      for (uint32_t i = 0; i < count; ++i) threads_.emplace_back([this] { run(); });
    } catch (const std::system_error& error) {
      return Status::error(Code::kUnsupported,
                           std::string("no thread for reading: ") + error.what());
    }
    return {};
  }

  Capabilities capabilities() const override {
    const bool direct = page_cache_ == PageCache::kBypass;
    return {.name = direct ? "pread" : "buffered", .direct = direct, .depth_max = depth_};
  }

  uint32_t submit(std::span<const Read> reads) override {
    uint32_t count = 0;
    {
      const std::lock_guard lock(mutex_);
      for (; count < reads.size() && outstanding_ < depth_; ++count, ++outstanding_) {
        check_read(reads[count]);
        queued_.push(reads[count]);
      }
    }
    for (uint32_t i = 0; i < std::min<size_t>(count, threads_.size()); ++i) work_.notify_one();
    return count;
  }

  uint32_t reap(std::span<ReadDone> done, std::chrono::nanoseconds wait) override {
    if (done.empty()) return 0;
    const auto longest = std::clamp<std::chrono::nanoseconds>(wait, std::chrono::nanoseconds(0),
                                                              std::chrono::hours(1));
    const auto end = std::chrono::steady_clock::now() + longest;
    std::unique_lock lock(mutex_);
    result_.wait_until(lock, end, [this] { return woken_ || !finished_.empty(); });
    woken_ = false;
    uint32_t count = 0;
    for (; count < done.size() && !finished_.empty(); ++count, --outstanding_)
      done[count] = finished_.pop();
    return count;
  }

  void wake() override {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    result_.notify_one();
  }

 private:
  void run() {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "hypura-read");
#endif
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return closing_ || !queued_.empty(); });
      if (closing_) return;
      const Read read = queued_.pop();
      lock.unlock();
      const int32_t result = read_once(read, page_cache_);
      lock.lock();
      finished_.push({.tag = read.tag, .result = result});
      result_.notify_one();
    }
  }

  const uint32_t depth_;
  const PageCache page_cache_;
  std::mutex mutex_;
  std::condition_variable work_;     // for the pool: a read is queued, or closing
  std::condition_variable result_;   // for reap(): a read has finished, or wake()
  // Guarded by mutex_, all of them.
  BoundedQueue<Read> queued_;
  BoundedQueue<ReadDone> finished_;
  uint32_t outstanding_ = 0;         // submitted and not reaped
  bool woken_ = false;
  bool closing_ = false;
  std::vector<std::thread> threads_;  // immutable between start() and the destructor
};

}  // namespace

Result<std::unique_ptr<IoBackend>> open_pread_pool(uint32_t depth, PageCache page_cache,
                                                   uint32_t drives) {
  auto pool = std::make_unique<PreadPool>(depth, page_cache);
  HYPURA_TRY(pool->start(drives));
  return std::unique_ptr<IoBackend>(std::move(pool));
}

}  // namespace hypura::nvme_io
