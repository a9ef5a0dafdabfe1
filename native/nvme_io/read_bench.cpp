#include "native/nvme_io/read_bench.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/check.h"

namespace hypura::nvme_io {
namespace {

using Clock = std::chrono::steady_clock;

// Between two looks at `cancelled` while the drive is silent.
constexpr auto kCancelLook = std::chrono::milliseconds(50);

uint64_t cpu_ns_of_process() {
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) != 0) return 0;
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(time.tv_usec) * 1000;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

// Advice: pages that are dirty or mapped by somebody stay, and the system's own counters tell.
void drop_cached_pages([[maybe_unused]] const ModelFile& file) {
#if defined(POSIX_FADV_DONTNEED)
  if (!file.direct()) (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
#endif
}

uint32_t reads_per_block(uint32_t block_bytes) {
  return (block_bytes + kReadBytesMax - 1) / kReadBytesMax;
}

Status check_offsets(std::span<const uint64_t> offsets, const ModelFile& file) {
  if (offsets.size() > kMeasureOffsetsMax) {
    return Status::error(Code::kInvalidArgument,
                         std::to_string(offsets.size()) + " offsets are more than " +
                             std::to_string(kMeasureOffsetsMax) + ".");
  }
  for (const uint64_t offset : offsets) {
    if (offset % kDirectAlignmentBytes != 0)
      return Status::at(Code::kInvalidArgument, offset,
                        "The offset " + std::to_string(offset) + " is not a multiple of " +
                            std::to_string(kDirectAlignmentBytes) + ".");
    // Whoever chose the offset had seen a longer file.
    if (offset >= file.size_bytes())
      return Status::at(Code::kModelChanged, offset,
                        file.path() + " ends at " + std::to_string(file.size_bytes()) +
                            ", before the offset " + std::to_string(offset) +
                            ": it became shorter.");
  }
  return {};
}

// The nearest rank: of 100 latencies the 99th. Reorders them.
uint64_t percentile(std::vector<uint64_t>& latencies, uint64_t percent) {
  if (latencies.empty()) return 0;
  const uint64_t rank = (latencies.size() * percent + 99) / 100;
  const auto at = latencies.begin() + static_cast<ptrdiff_t>(std::max<uint64_t>(rank, 1) - 1);
  std::nth_element(latencies.begin(), at, latencies.end());
  return *at;
}

class Bench {
 public:
  Bench(IoBackend& backend, const ModelFile& file, std::span<std::byte> memory,
        const ReadBenchOptions& options, const std::atomic<bool>& cancelled)
      : backend_(backend),
        file_(file),
        memory_(memory),
        options_(options),
        cancelled_(cancelled),
        pieces_per_block_(reads_per_block(options.block_bytes)) {
    const uint64_t most = options.bytes_max / options.block_bytes + 1;
    latencies_.reserve(std::min<uint64_t>(options.offsets.size(), most));
    waiting_.reserve(kIoDepthMax);
    for (uint32_t slot = options.depth; slot > 0; --slot) free_slots_.push_back(slot - 1);
  }

  Result<ReadBench> run() {
    const uint64_t cpu_before = cpu_ns_of_process();
    const Clock::time_point begin = Clock::now();
    Clock::time_point now = begin;
    for (;;) {
      begin_blocks(now - begin, now);
      submit();
      if (outstanding_ == 0 && waiting_.empty()) break;
      const uint32_t count = backend_.reap(done_, kCancelLook);
      now = Clock::now();
      for (uint32_t i = 0; i < count; ++i) settle(done_[i], now);
      // Pairs with the store of whoever cancels; nothing else is handed over by it.
      if (cancelled_.load(std::memory_order_relaxed))
        stop(Status::error(Code::kCancelled, "the measurement was cancelled"));
    }
    if (!failed_.ok()) return failed_;
    result_.duration_ns = static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(last_end_ - begin).count());
    if (result_.blocks == 0) result_.duration_ns = 0;
    result_.cpu_ns = cpu_ns_of_process() - cpu_before;
    result_.latency_p50_ns = percentile(latencies_, 50);
    result_.latency_p99_ns = percentile(latencies_, 99);
    result_.latency_max_ns = percentile(latencies_, 100);
    return result_;
  }

 private:
  struct Slot {
    Clock::time_point begun{};
    uint64_t bytes = 0;
    uint32_t reads_left = 0;
  };
  // One read, by its tag: slot * pieces_per_block_ + piece.
  struct Piece {
    bool on_its_way = false;
    uint64_t offset_bytes = 0;
    uint32_t bytes = 0;  // less than what is asked for at the end of the file
  };

  bool may_begin(std::chrono::nanoseconds elapsed) const {
    return failed_.ok() && !free_slots_.empty() && next_ < options_.offsets.size() &&
           elapsed < options_.time_max && asked_bytes_ < options_.bytes_max;
  }

  void begin_blocks(std::chrono::nanoseconds elapsed, Clock::time_point now) {
    while (may_begin(elapsed)) {
      const uint32_t index = free_slots_.back();
      free_slots_.pop_back();
      const uint64_t offset = options_.offsets[next_++];
      const uint64_t end = std::min(offset + options_.block_bytes, file_.size_bytes());
      slots_[index] = {.begun = now, .bytes = end - offset, .reads_left = 0};
      asked_bytes_ += end - offset;
      std::byte* const into = memory_.data() + uint64_t{index} * options_.block_bytes;
      for (uint64_t at = offset; at < end; at += kReadBytesMax) {
        const uint32_t tag = index * pieces_per_block_ + slots_[index].reads_left++;
        const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(end - at, kReadBytesMax));
        pieces_[tag] = {.on_its_way = true, .offset_bytes = at, .bytes = bytes};
        // A direct read asks for whole sectors also where the file ends inside one; the block's memory has room for it.
        waiting_.push_back(
            {.tag = tag,
             .fd = file_.fd(),
             .bytes = static_cast<uint32_t>(align_up(bytes, kDirectAlignmentBytes)),
             .offset_bytes = at,
             .into = into + (at - offset)});
      }
    }
  }

  void submit() {
    if (waiting_.empty()) return;
    const uint32_t taken = backend_.submit(waiting_);
    waiting_.erase(waiting_.begin(), waiting_.begin() + taken);
    outstanding_ += taken;
  }

  void settle(const ReadDone& done, Clock::time_point now) {
    CHECK(done.tag < pieces_.size());
    Piece& piece = pieces_[done.tag];
    if (!piece.on_its_way) return;  // a completion that came twice
    piece.on_its_way = false;
    --outstanding_;
    if (done.result != static_cast<int64_t>(piece.bytes)) return stop(why_failed(done, piece));
    const auto index = static_cast<uint32_t>(done.tag / pieces_per_block_);
    Slot& slot = slots_[index];
    if (--slot.reads_left > 0) return;
    ++result_.blocks;
    result_.bytes += slot.bytes;
    last_end_ = now;
    latencies_.push_back(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(now - slot.begun).count()));
    free_slots_.push_back(index);
  }

  // The first failure counts. What was not submitted never will be.
  void stop(Status status) {
    if (failed_.ok()) failed_ = std::move(status);
    waiting_.clear();
  }

  Status why_failed(const ReadDone& done, const Piece& piece) const {
    if (done.result >= 0) {
      HYPURA_TRY(file_.check_unchanged());
    }
    const std::string what =
        done.result < 0 ? std::strerror(-done.result)
                        : "only " + std::to_string(done.result) + " bytes came";
    return Status(Status::Detail{.code = Code::kIo,
                                 .message = std::to_string(piece.bytes) + " bytes at " +
                                            std::to_string(piece.offset_bytes) + " of " +
                                            file_.path() + " could not be read (" + what +
                                            "). Check the drive: hypura doctor.",
                                 .errno_value = done.result < 0 ? -done.result : 0,
                                 .file = 0,
                                 .offset_bytes = piece.offset_bytes});
  }

  IoBackend& backend_;
  const ModelFile& file_;
  const std::span<std::byte> memory_;
  const ReadBenchOptions& options_;
  const std::atomic<bool>& cancelled_;
  const uint32_t pieces_per_block_;
  std::array<Slot, kIoDepthMax> slots_{};
  std::array<Piece, kIoDepthMax> pieces_{};
  std::array<ReadDone, kIoDepthMax> done_{};
  std::vector<uint32_t> free_slots_;
  std::vector<Read> waiting_;        // not taken by the backend yet
  std::vector<uint64_t> latencies_;
  size_t next_ = 0;                  // into options_.offsets
  uint32_t outstanding_ = 0;         // reads that the backend has
  uint64_t asked_bytes_ = 0;
  Clock::time_point last_end_{};
  Status failed_;
  ReadBench result_;
};

}  // namespace

uint32_t reads_at_once(uint32_t block_bytes, uint32_t depth) {
  return depth * reads_per_block(block_bytes);
}

uint64_t bench_memory_bytes(uint32_t block_bytes, uint32_t depth) {
  return uint64_t{block_bytes} * depth;
}

Status check_bench_shape(uint32_t block_bytes, uint32_t depth) {
  if (block_bytes == 0 || block_bytes > kMeasureBlockBytesMax ||
      block_bytes % kDirectAlignmentBytes != 0) {
    return Status::error(Code::kInvalidArgument,
                         "A block of " + std::to_string(block_bytes) +
                             " bytes is not a multiple of " +
                             std::to_string(kDirectAlignmentBytes) + " up to " +
                             std::to_string(kMeasureBlockBytesMax) + ".");
  }
  const uint32_t most = kIoDepthMax / reads_per_block(block_bytes);
  if (depth == 0 || depth > most) {
    return Status::error(Code::kInvalidArgument,
                         "A depth of " + std::to_string(depth) + " is not within 1 .. " +
                             std::to_string(most) + ", what blocks of " +
                             std::to_string(block_bytes) + " bytes allow.");
  }
  return {};
}

Result<ReadBench> bench_reads(IoBackend& backend, const ModelFile& file,
                              std::span<std::byte> memory, const ReadBenchOptions& options,
                              const std::atomic<bool>& cancelled) {
  HYPURA_TRY(check_bench_shape(options.block_bytes, options.depth));
  HYPURA_TRY(check_offsets(options.offsets, file));
  CHECK(memory.size() >= bench_memory_bytes(options.block_bytes, options.depth));
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % kDirectAlignmentBytes == 0);
  drop_cached_pages(file);
  return Bench(backend, file, memory, options, cancelled).run();
}

}  // namespace hypura::nvme_io
