// What could break: a measurement reads elsewhere than it was told, counts bytes that did not come, lets the queue run dry,
// reads a place twice, goes on after its time, or returns while the drive still writes into memory.
// How we notice: a backend in front of the real one writes down every read and how many were on their way; bytes in memory
// follow from their offset; every fault of FaultIo must end as the kind of error it is, on every backend.
#include "native/nvme_io/read_bench.h"

#include <unistd.h>

#include <cerrno>
#include <map>
#include <thread>

#include "native/base/testing.h"
#include "native/nvme_io/fault_io.h"
#include "native/nvme_io/io_testing.h"

namespace hypura::nvme_io {
namespace {

using namespace std::chrono_literals;
using namespace hypura::nvme_io::testing;

constexpr uint32_t kPage = 4096;
constexpr uint64_t kFileBytes = (19u << 20) + 1234;

// Writes down what passes, and changes nothing.
class Watched final : public IoBackend {
 public:
  explicit Watched(std::unique_ptr<IoBackend> inner) : inner_(std::move(inner)) {}
  Capabilities capabilities() const override { return inner_->capabilities(); }
  uint32_t submit(std::span<const Read> reads) override {
    const uint32_t taken = inner_->submit(reads);
    for (const Read& read : reads.first(taken)) {
      bytes_at[read.offset_bytes] += read.bytes;
      longest = std::max(longest, read.bytes);
      depth_seen = std::max(depth_seen, ++outstanding);
    }
    return taken;
  }
  uint32_t reap(std::span<ReadDone> done, std::chrono::nanoseconds wait) override {
    if (bytes_at.size() < reads_expected) depth_least = std::min(depth_least, outstanding);
    const uint32_t count = inner_->reap(done, wait);
    outstanding -= count;
    return count;
  }
  void wake() override { inner_->wake(); }

  std::map<uint64_t, uint64_t> bytes_at;  // asked for, by offset
  uint32_t outstanding = 0;
  uint32_t depth_seen = 0;
  size_t reads_expected = 0;
  uint32_t depth_least = UINT32_MAX;  // while there was more to read
  uint32_t longest = 0;

 private:
  std::unique_ptr<IoBackend> inner_;
};

const std::string& shared_file() {
  static TempFolder folder;
  static const std::string path = folder.file("weights", kFileBytes);
  return path;
}

struct Rig {
  Rig(BackendChoice choice, uint32_t block_bytes, uint32_t depth, const char* faults = "",
      std::string at = shared_file())
      : path(std::move(at)),
        file(open(choice)),
        memory(bench_memory_bytes(block_bytes, depth)) {
    Result<OpenedBackend> opened = open_backend(choice, reads_at_once(block_bytes, depth));
    CHECK(opened.ok());
    auto fault_io = std::make_unique<FaultIo>(std::move(opened->backend),
                                              FaultSchedule::parse(faults).value(),
                                              file.direct() ? kSectorBytes : 1);
    injected = fault_io.get();
    backend = std::make_unique<Watched>(std::move(fault_io));
    options = {.block_bytes = block_bytes, .depth = depth, .offsets = {}, .time_max = 60s};
  }
  ModelFile open(BackendChoice choice) {
    Result<ModelFile> opened =
        ModelFile::open(path, identity_of(path), choice != BackendChoice::kBuffered);
    CHECK(opened.ok());
    return std::move(opened).value();
  }
  Result<ReadBench> run(std::vector<uint64_t> at) {
    offsets = std::move(at);
    options.offsets = offsets;
    return bench_reads(*backend, file, {memory.data(), memory.size()}, options, cancelled);
  }

  std::string path;
  ModelFile file;
  Buffer memory;
  FaultIo* injected = nullptr;
  std::unique_ptr<Watched> backend;
  ReadBenchOptions options;
  std::vector<uint64_t> offsets;
  std::atomic<bool> cancelled{false};
};

std::vector<BackendChoice> runnable() {
  std::vector<BackendChoice> choices = {BackendChoice::kPread, BackendChoice::kBuffered};
  if (open_backend(BackendChoice::kUring, 1).ok())
    choices.push_back(BackendChoice::kUring);
  else
    skip("io_uring cannot run here");
  return choices;
}

std::vector<uint64_t> every_block(uint32_t block_bytes) {
  std::vector<uint64_t> offsets;
  for (uint64_t at = 0; at < kFileBytes; at += block_bytes) offsets.push_back(at);
  return offsets;
}

TEST(every_byte_is_read_once_with_the_depth_that_was_asked_for) {
  for (const BackendChoice choice : runnable()) {
    for (const auto& [block_bytes, depth] :
         {std::pair{kPage, 64u}, std::pair{64u << 10, 8u}, std::pair{kReadBytesMax, 2u},
          std::pair{6u << 20, 2u}, std::pair{kMeasureBlockBytesMax, 1u}}) {
      Rig rig(choice, block_bytes, depth);
      const std::vector<uint64_t> offsets = every_block(block_bytes);
      rig.backend->reads_expected = offsets.size();
      const Result<ReadBench> result = rig.run(offsets);
      EXPECT_OK(result.status());
      if (!result.ok()) continue;
      const ReadBench& bench = result.value();
      EXPECT_EQ(bench.bytes, kFileBytes);
      EXPECT_EQ(bench.blocks, offsets.size());
      EXPECT(bench.duration_ns > 0);
      EXPECT(bench.latency_p50_ns > 0 && bench.latency_p50_ns <= bench.latency_p99_ns);
      EXPECT(bench.latency_p99_ns <= bench.latency_max_ns);
      EXPECT(bench.latency_max_ns <= bench.duration_ns);
      // Reads side by side, each up to the next: no gap, nothing twice.
      uint64_t end = 0;
      for (const auto& [offset, bytes] : rig.backend->bytes_at) {
        EXPECT_EQ(offset, end);
        end += bytes;
      }
      EXPECT_EQ(end, (kFileBytes + kPage - 1) / kPage * kPage);
      EXPECT_EQ(rig.backend->depth_seen,
                std::min<uint32_t>(reads_at_once(block_bytes, depth), rig.backend->bytes_at.size()));
      // Blocks of several reads may wait with some of them done; others are refilled at once.
      if (block_bytes <= kReadBytesMax) EXPECT_EQ(rig.backend->depth_least, depth);
      EXPECT(rig.backend->longest <= kReadBytesMax);
      EXPECT_OK(rig.injected->violation());
    }
  }
}

TEST(blocks_land_where_they_belong) {
  for (const BackendChoice choice : runnable()) {
    Rig rig(choice, 6u << 20, 2);
    // The second one is cut by the end of the file.
    const std::vector<uint64_t> offsets = {kPage, 18u << 20};
    const Result<ReadBench> result = rig.run(offsets);
    ASSERT(result.ok());
    EXPECT_EQ(result.value().bytes, (6u << 20) + kFileBytes - (18u << 20));
    const std::span<const std::byte> memory = rig.memory.first(rig.memory.size());
    EXPECT(holds_file_bytes(memory.first(6u << 20), offsets[0]));
    EXPECT(holds_file_bytes(memory.subspan(6u << 20, kFileBytes - offsets[1]), offsets[1]));
  }
}

TEST(time_and_bytes_end_it) {
  Rig rig(BackendChoice::kPread, kPage, 4, "delay=20:all:forever");
  rig.options.time_max = 100ms;
  const Result<ReadBench> slow = rig.run(every_block(kPage));
  ASSERT(slow.ok());
  // 4 at once, each 20 ms or more: about 20 in 100 ms; the machine may be slower, the drive cannot be faster.
  EXPECT(slow.value().blocks >= 4 && slow.value().blocks <= 24);
  EXPECT(slow.value().duration_ns >= 100'000'000);
  EXPECT(slow.value().latency_p50_ns >= 20'000'000);
  EXPECT_EQ(slow.value().bytes, slow.value().blocks * kPage);

  Rig cut(BackendChoice::kPread, kPage, 4);
  cut.options.bytes_max = 10 * kPage + 1;
  const Result<ReadBench> few = cut.run(every_block(kPage));
  ASSERT(few.ok());
  EXPECT_EQ(few.value().blocks, 11u);
  EXPECT_EQ(cut.backend->bytes_at.rbegin()->first, 10 * kPage);  // the first ones of the list
}

TEST(nothing_to_read_is_nothing_read) {
  Rig rig(BackendChoice::kPread, kPage, 4);
  const Result<ReadBench> result = rig.run({});
  ASSERT(result.ok());
  EXPECT_EQ(result.value().blocks + result.value().bytes + result.value().duration_ns, 0u);
  EXPECT_EQ(result.value().latency_max_ns, 0u);
}

TEST(faults_are_errors_with_a_place_and_leave_nothing_on_its_way) {
  struct Case {
    const char* faults;
    Code code;
    int errno_value;
  };
  for (const BackendChoice choice : runnable()) {
    for (const Case& one : {Case{"eio:at=7:once", Code::kIo, EIO},
                            Case{"eio:all:forever", Code::kIo, EIO},
                            Case{"short:at=9:once:3", Code::kIo, 0},
                            Case{"eof:at=9:once", Code::kIo, 0},
                            Case{"eio:at=20:once;delay=30:every=3:forever:5", Code::kIo, EIO}}) {
      Rig rig(choice, 64u << 10, 8, one.faults);
      const Result<ReadBench> result = rig.run(every_block(64u << 10));
      ASSERT(!result.ok());
      const Status::Detail& detail = *result.status().detail();
      EXPECT(detail.code == one.code);
      EXPECT_EQ(detail.errno_value, one.errno_value);
      EXPECT(detail.offset_bytes.has_value() && *detail.offset_bytes % (64u << 10) == 0);
      EXPECT(detail.message.find(rig.path) != std::string::npos);
      EXPECT_EQ(rig.backend->outstanding, 0u);
      EXPECT_OK(rig.injected->violation());
    }
    // Not faults of the drive: late, out of order, told twice.
    Rig rig(choice, 64u << 10, 8, "reorder:every=4:forever:1;delay=2:every=9:forever:2");
    const Result<ReadBench> result = rig.run(every_block(64u << 10));
    ASSERT(result.ok());
    EXPECT_EQ(result.value().bytes, kFileBytes);
  }
}

TEST(a_completion_that_comes_twice_counts_once) {
  Rig rig(BackendChoice::kPread, 64u << 10, 4, "duplicate:every=5:forever:1");
  const Result<ReadBench> result = rig.run(every_block(64u << 10));
  ASSERT(result.ok());
  EXPECT_EQ(result.value().bytes, kFileBytes);
  EXPECT_EQ(result.value().blocks, every_block(64u << 10).size());
}

TEST(a_file_that_became_shorter_is_another_model) {
  TempFolder folder;
  Rig rig(BackendChoice::kPread, kPage, 2, "", folder.file("weights", kFileBytes));
  CHECK(::truncate(rig.path.c_str(), 8 * kPage) == 0);
  const Result<ReadBench> result = rig.run(every_block(kPage));
  ASSERT(!result.ok());
  EXPECT(result.status().code() == Code::kModelChanged);
}

TEST(a_cancel_is_seen_while_the_drive_is_silent) {
  Rig rig(BackendChoice::kPread, kPage, 4, "stall:all:forever");
  std::thread canceller([&] {
    std::this_thread::sleep_for(30ms);
    rig.cancelled.store(true);
    std::this_thread::sleep_for(100ms);
    rig.injected->release_stalled();
  });
  const Result<ReadBench> result = rig.run(every_block(kPage));
  canceller.join();
  ASSERT(!result.ok());
  EXPECT(result.status().code() == Code::kCancelled);
  EXPECT_EQ(rig.backend->outstanding, 0u);
  EXPECT_EQ(rig.backend->bytes_at.size(), 4u);  // no block began after it
}

TEST(shapes_have_limits) {
  EXPECT_OK(check_bench_shape(kPage, 1));
  EXPECT_OK(check_bench_shape(kReadBytesMax, 64));
  EXPECT_OK(check_bench_shape(kReadBytesMax + kPage, 32));
  EXPECT_OK(check_bench_shape(kMeasureBlockBytesMax, 16));
  EXPECT_EQ(reads_at_once(kMeasureBlockBytesMax, 16), kIoDepthMax);
  for (const auto& [block_bytes, depth] :
       {std::pair{0u, 1u}, std::pair{512u, 1u}, std::pair{kPage + 1, 1u}, std::pair{kPage, 0u},
        std::pair{kPage, 65u}, std::pair{kReadBytesMax + kPage, 33u},
        std::pair{kMeasureBlockBytesMax, 17u}, std::pair{kMeasureBlockBytesMax + kPage, 1u},
        std::pair{UINT32_MAX, 1u}, std::pair{kPage, UINT32_MAX}})
    EXPECT(check_bench_shape(block_bytes, depth).code() == Code::kInvalidArgument);

  Rig rig(BackendChoice::kPread, kPage, 1);
  for (const uint64_t offset : {uint64_t{1}, uint64_t{kPage + 512}})
    EXPECT(rig.run({0, offset}).status().code() == Code::kInvalidArgument);
  for (const uint64_t offset : {kFileBytes / kPage * kPage + kPage, UINT64_MAX / kPage * kPage})
    EXPECT(rig.run({0, offset}).status().code() == Code::kModelChanged);
  EXPECT(rig.backend->bytes_at.empty());
  std::vector<uint64_t> too_many(kMeasureOffsetsMax + 1);
  EXPECT(rig.run(std::move(too_many)).status().code() == Code::kInvalidArgument);
}

}  // namespace
}  // namespace hypura::nvme_io
