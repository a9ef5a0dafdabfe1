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
  uint32_t io_depth = 0;  // reads in flight per drive; 0: kIoDepthDefault
  std::string faults;     // fault schedule (nvme_io/fault_schedule.h); empty in production
  std::vector<std::byte> plan{};  // Plan message that is in force from the beginning; empty: the default plan
};

// What was found out while opening, for the host.
struct EngineFacts {
  std::string io_backend;  // or "mmap", "copy": weights outside of a cache
  std::string io_reason;
  // How a copy of the model is read: its own files, and those of each mirror.
  struct Direct {
    bool direct = true;  // all files are read past the page cache
    std::string direct_reason;
  };
  Direct own;
  std::vector<Direct> mirrors;
  std::vector<double> drive_bytes_per_second;  // by drive; 0: not known
  std::string isa;
  uint32_t threads = 0;
  uint64_t arena_bytes = 0;
  uint64_t huge_page_bytes = 0;
};

// How far the comparison of copies is; read by any thread.
struct CompareCounters {
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> bytes_total{0};
};

struct OpenedModel {
  using Publish = std::function<void(const scheduler::CacheCounters&)>;

  // message, plan, events and cancelled outlive the model; threads and io_depth of options are chosen already. What the plan
  // warms is read in as well, as far as the pool has slots. publish: called once, when the cache's counters exist, so that loading can be watched. After an error the model is good for nothing
  // but its destructor.
  // Copies that are not verified yet are compared first, before the arena is made.
  // Errors: those of the parts; kMirrorMismatch; kCancelled when `cancelled` became true.
  Status open(const LoadMessage& message, const EngineOptions& options,
              const scheduler::Plan& plan, scheduler::EventRing& events, CompareCounters& compared,
              const std::atomic<bool>& cancelled, const Publish& publish);

  // Torn down from the last to the first.
  std::vector<nvme_io::ModelFile> files;  // as in the message: of all copies
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
                    const scheduler::Plan& plan, scheduler::EventRing& events, CompareCounters& compared,
                    const std::atomic<bool>& cancelled, const Publish& publish);
  Status open_images(const LoadMessage& message, const std::atomic<bool>& cancelled,
                     const Publish& publish);
};

// Sizes that a load needs besides weights, from the message's budget and the number of threads.
MeasureOptions measure_options(const LoadMessage& message, uint32_t threads);

}  // namespace hypura::runtime
