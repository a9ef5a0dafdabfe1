// A model ready to compute: files, arena, cache, KV and decoder, made in the order in which they need each other.
//
// Thread: open() and the destructor on the token loop's thread; nothing here is shared but what engine.h says.
// Allocates: in open(), never later.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/thread_pool.h"
#include "native/model/decoder.h"
#include "native/model/kv_cache.h"
#include "native/nvme_io/arena.h"
#include "native/nvme_io/file_image.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/model_file.h"
#include "native/runtime/load_message.h"
#include "native/runtime/measure.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/event_ring.h"

namespace hypura::runtime {

struct EngineOptions {
  uint32_t threads = 0;  // compute threads, the token loop included; 0: usable cores
  nvme_io::BackendChoice io = nvme_io::BackendChoice::kAuto;
  uint32_t io_depth = 0;  // 0: kIoDepthDefault
  std::string faults;     // fault schedule (nvme_io/fault_schedule.h); empty in production
};

// What was found out while opening, for the host.
struct EngineFacts {
  std::string io_backend;  // or "mmap", "copy": weights outside of a cache
  std::string io_reason;
  bool direct = false;  // all files are read past the page cache
  std::string direct_reason;
  std::string isa;
  uint32_t threads = 0;
  uint64_t arena_bytes = 0;
  uint64_t huge_page_bytes = 0;
};

struct OpenedModel {
  using Publish = std::function<void(const scheduler::CacheCounters&)>;

  // message, events and cancelled outlive the model; threads and io_depth of options are chosen already. publish: called
  // once, when the cache's counters exist, so that loading can be watched. After an error the model is good for nothing
  // but its destructor.
  // Errors: those of the parts; kCancelled when `cancelled` became true.
  Status open(const LoadMessage& message, const EngineOptions& options,
              scheduler::EventRing& events, const std::atomic<bool>& cancelled,
              const Publish& publish);

  // Torn down from the last to the first.
  std::vector<nvme_io::ModelFile> files;
  std::optional<nvme_io::Arena> arena;
  std::vector<nvme_io::MappedFile> mapped;  // WeightPlacement::kMapped
  std::unique_ptr<scheduler::BlockCache> cache;
  std::unique_ptr<kernels::ThreadPool> pool;
  std::optional<model::KvCache> kv;
  std::optional<ScratchLayout> scratch;
  std::unique_ptr<model::Decoder> decoder;
  EngineFacts facts;

 private:
  Status open_cache(const LoadMessage& message, const EngineOptions& options,
                    scheduler::EventRing& events, const std::atomic<bool>& cancelled,
                    const Publish& publish);
  Status open_images(const LoadMessage& message, const std::atomic<bool>& cancelled,
                     const Publish& publish);
};

// Sizes that a load needs besides weights, from the message's budget and the number of threads.
MeasureOptions measure_options(const LoadMessage& message, uint32_t threads);

}  // namespace hypura::runtime
