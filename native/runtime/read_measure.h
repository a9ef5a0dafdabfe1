// One measurement of how a file can be read, on a thread of its own: opens file and backend as an engine would, touches
// memory, reads, reports. Needs no engine.
//
// cancel() is for people: it returns at once, while the thread may still wait for reads that the drive has. The destructor
// waits for them, because the kernel writes into their memory.
// Thread-safe.   Allocates: on its thread; at most kIoDepthMax * kReadBytesMax of arena.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "native/base/status.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/read_bench.h"

namespace hypura::runtime {

struct ReadMeasureOptions {
  nvme_io::BackendChoice backend = nvme_io::BackendChoice::kAuto;
  bool direct = true;  // asked for; a backend or file system that cannot is reported
  uint32_t block_bytes = kReadBytesMax;
  uint32_t depth = kIoDepthDefault;
  uint64_t bytes_max = UINT64_MAX;
  std::chrono::nanoseconds time_max = std::chrono::seconds(1);
  std::vector<uint64_t> offsets;  // see nvme_io::ReadBenchOptions
};

struct ReadMeasure {
  nvme_io::ReadBench bench;
  std::string backend;
  std::string backend_reason;
  bool direct = false;
  std::string direct_reason;  // "" when direct
  uint64_t arena_bytes = 0;
  uint64_t huge_page_bytes = 0;
};

class ReadMeasurement {
 public:
  // notify: called once, on the measurement's thread, when result() is there; it must not destroy the measurement.
  // Errors: kInvalidArgument for the shape, kInsufficientMemory when the system gives no thread.
  static Result<std::unique_ptr<ReadMeasurement>> start(std::string path,
                                                        ReadMeasureOptions options,
                                                        std::function<void()> notify);
  ~ReadMeasurement();
  void cancel();
  // Nothing while it runs. Errors: those of ModelFile::open, open_backend, Arena::create and bench_reads.
  std::optional<Result<ReadMeasure>> result() const;

 private:
  ReadMeasurement(std::string path, ReadMeasureOptions options, std::function<void()> notify);
  void main();

  const std::string path_;
  const ReadMeasureOptions options_;
  const std::function<void()> notify_;
  std::atomic<bool> cancelled_{false};
  mutable std::mutex mutex_;
  std::optional<Result<ReadMeasure>> result_;  // guarded by mutex_
  std::thread thread_;                         // touched by start() and the destructor only
};

}  // namespace hypura::runtime
