#include "native/runtime/read_measure.h"

#include <pthread.h>

#include <new>
#include <system_error>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/signals.h"
#include "native/nvme_io/arena.h"
#include "native/nvme_io/model_file.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

Result<ReadMeasure> measure_reads(const std::string& path, const ReadMeasureOptions& options,
                                  const std::atomic<bool>& cancelled) {
  const uint32_t reads = nvme_io::reads_at_once(options.block_bytes, options.depth);
  HYPURA_TRY_ASSIGN(nvme_io::OpenedBackend opened, nvme_io::open_backend(options.backend, reads));
  const nvme_io::Capabilities able = opened.backend->capabilities();
  HYPURA_TRY_ASSIGN(const nvme_io::FileIdentity identity, nvme_io::identity_of_file(path));
  HYPURA_TRY_ASSIGN(const nvme_io::ModelFile file,
                    nvme_io::ModelFile::open(path, identity, options.direct && able.direct));

  // Whole huge pages also for small blocks: an engine reads them into such memory, too.
  const uint64_t bytes = nvme_io::bench_memory_bytes(options.block_bytes, options.depth);
  HYPURA_TRY_ASSIGN(nvme_io::Arena arena, nvme_io::Arena::create(align_up(bytes, kHugePageBytes)));
  HYPURA_TRY_ASSIGN(const std::span<std::byte> memory, arena.carve(bytes, kHugePageBytes));
  HYPURA_TRY(arena.touch(cancelled));

  ReadMeasure measure{.bench = {},
                      .backend = able.name,
                      .backend_reason = opened.reason,
                      .direct = file.direct(),
                      .direct_reason = file.direct_reason(),
                      .arena_bytes = arena.size_bytes(),
                      .huge_page_bytes = arena.huge_page_bytes()};
  HYPURA_TRY_ASSIGN(measure.bench,
                    nvme_io::bench_reads(*opened.backend, file, memory,
                                         {.block_bytes = options.block_bytes,
                                          .depth = options.depth,
                                          .offsets = options.offsets,
                                          .time_max = options.time_max,
                                          .bytes_max = options.bytes_max},
                                         cancelled));
  return measure;
}

}  // namespace

Result<std::unique_ptr<ReadMeasurement>> ReadMeasurement::start(std::string path,
                                                                ReadMeasureOptions options,
                                                                std::function<void()> notify) {
  HYPURA_TRY(nvme_io::check_bench_shape(options.block_bytes, options.depth));
  std::unique_ptr<ReadMeasurement> measurement(
      new ReadMeasurement(std::move(path), std::move(options), std::move(notify)));
  const SignalsBlocked blocked;  // also for the threads that this one starts
  try {
    measurement->thread_ = std::thread([raw = measurement.get()] { raw->main(); });
  } catch (const std::system_error& error) {
    return Status::error(Code::kInsufficientMemory,
                         text("the measuring thread could not be started: ", error.what()));
  }
  return measurement;
}

ReadMeasurement::ReadMeasurement(std::string path, ReadMeasureOptions options,
                                 std::function<void()> notify)
    : path_(std::move(path)), options_(std::move(options)), notify_(std::move(notify)) {}

ReadMeasurement::~ReadMeasurement() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

// Pairs with relaxed loads in touch() and bench_reads(): the flag hands over nothing but itself.
void ReadMeasurement::cancel() { cancelled_.store(true, std::memory_order_relaxed); }

std::optional<Result<ReadMeasure>> ReadMeasurement::result() const {
  const std::lock_guard lock(mutex_);
  return result_;
}

void ReadMeasurement::main() {
#if defined(__linux__)
  pthread_setname_np(pthread_self(), "hypura-measure");
#endif
  Result<ReadMeasure> result = Status::error(Code::kInternal, "nothing was measured");
  try {
    result = measure_reads(path_, options_, cancelled_);
  } catch (const std::bad_alloc&) {
    result = Status::error(Code::kInsufficientMemory, "the system has no memory left");
  } catch (const std::exception& error) {
    result = Status::error(Code::kInternal, text("unexpected: ", error.what()));
  }
  {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
  }
  notify_();
}

}  // namespace hypura::runtime
