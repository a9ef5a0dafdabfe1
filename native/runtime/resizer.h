// Takes a running engine to another memory budget, step by step between sweeps.
//
// The host asks with a division of memory that it computed (ts/prefetch/redivision.ts); the cache checks it. A later request
// replaces one that is on its way. The budget in force is never less than what is placed: it rises before memory is
// fetched and falls after it was given back (I4).
// Threads: ResizeJob is made by a host thread, filled by the loop, read by the host after `done`; Resizer is the loop's.
// Allocates: on error paths only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "native/base/status.h"
#include "native/scheduler/block_cache.h"

namespace hypura::runtime {

struct ResizeJob {
  uint64_t budget_bytes = 0;
  scheduler::CacheDivision division;
  Status status;
  uint64_t in_force_bytes = 0;    // the budget afterwards, also after an error
  std::atomic<bool> done{false};  // release after the fields above; acquire before reading them
};

class Resizer {
 public:
  struct Parts {
    scheduler::BlockCache& cache;
    uint64_t loaded_bytes;                // the budget of the load
    uint64_t beside_bytes;                // KV cache and scratch, in whole pages
    uint64_t arena_bytes;
    std::atomic<uint64_t>& budget_bytes;  // in force; read by any thread
    std::function<void()> job_done;
  };
  explicit Resizer(Parts parts) : parts_(std::move(parts)) {}

  void begin(std::shared_ptr<ResizeJob> job);
  bool active() const { return job_ != nullptr; }
  // kMore: there is more to do at once; kWaits: for reads.
  scheduler::ResizeProgress step();
  // The loop ends.
  void end(Status status) { finish(std::move(status)); }

 private:
  uint64_t backed_bytes() const;
  void finish(Status status);

  const Parts parts_;
  std::shared_ptr<ResizeJob> job_;
};

}  // namespace hypura::runtime
