// One loaded model with its threads: the composition root of the native side, and all that the addon sees of it.
//
// The engine's own thread loads, then runs the token loop, then tears everything down; it is the only one that touches
// cache, KV and decoder. The host's calls are short: they copy, look at a flag or put something into the queue.
// Thread-safe, except that submit_plan() and drain_events() have one caller at a time.
// Allocates: create() and the loading thread; later only requests, plans and read jobs.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "native/base/status.h"
#include "native/base/thread.h"
#include "native/runtime/counters.h"
#include "native/runtime/load_message.h"
#include "native/runtime/measure.h"
#include "native/runtime/opened_model.h"
#include "native/runtime/sequence.h"
#include "native/runtime/token_loop.h"
#include "native/runtime/work_queue.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/plan_mailbox.h"

namespace hypura::runtime {

class Engine {
 public:
  // Decodes and checks the message, then starts loading. notify: called on the engine's thread after each of: opening
  // ended, a read or resize job ended, the engine closed. It must not call back into the engine.
  // Errors: kBadLoad, kBadPlan, kUnsupported, kInvalidArgument, kInsufficientMemory.
  static Result<std::unique_ptr<Engine>> create(std::span<const std::byte> load,
                                                const EngineOptions& options,
                                                std::function<void()> notify);
  ~Engine();  // close(), and waits for the thread

  // Nothing while loading; then the facts, or why loading failed (kCancelled after close()).
  std::optional<Result<EngineFacts>> opened() const;
  // Errors: kBadPlan with the offset, kClosed.
  Status submit_plan(std::span<const std::byte> message);
  uint32_t drain_events(std::span<scheduler::Event> into) { return events_.drain(into); }
  CounterRow counters() const;
  // A row per copy of the model, by CopyIndex; zeroes while there is nothing to say. into: copy_count() rows.
  void copies(std::span<double> into) const;
  uint32_t copy_count() const { return message_.copies.copies; }
  // room_bytes: what the caller can take. The job's `done` tells when; notify is called then. Errors: kInvalidArgument,
  // kInsufficientMemory, kClosed, or what made loading fail.
  Result<std::shared_ptr<ReadJob>> read_blocks(std::span<const uint32_t> blocks,
                                               uint64_t room_bytes);
  // Another memory budget, with its division: see Resizer. The job's `done` tells when; notify is called then. Error: kClosed,
  // or what made loading fail.
  Result<std::shared_ptr<ResizeJob>> resize(uint64_t budget_bytes,
                                            const scheduler::CacheDivision& division);
  // wake: see Sequence; client: what its events name it with, 0 for nobody. Errors: kClosed, kInvalidArgument when all sequences the engine was loaded for are taken.
  Result<std::shared_ptr<Sequence>> create_sequence(std::function<void()> wake,
                                                    uint32_t client = 0);

  // Cancels loading and what runs; returns at once. closed() tells when all is freed; notify is called then.
  void close();
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  const LoadMessage& message() const { return message_; }

 private:
  Engine(LoadMessage message, EngineOptions options,
         std::unique_ptr<const scheduler::Plan> plan, MemoryMeasure measure,
         std::function<void()> notify);
  void main();
  void load_and_serve();
  void wait_for_close();
  void end_all();

  const LoadMessage message_;
  const EngineOptions options_;
  const MemoryMeasure measure_;
  const std::function<void()> notify_;
  scheduler::EventRing events_;
  scheduler::PlanMailbox plans_;
  LoopCounters loop_counters_;
  CompareCounters compare_counters_;
  const std::shared_ptr<WorkQueue> queue_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> closed_{false};

  // Guarded by queue_->mutex.
  std::optional<Result<EngineFacts>> opened_;
  const scheduler::CacheCounters* cache_counters_ = nullptr;  // while the cache lives

  Thread thread_;
};

}  // namespace hypura::runtime
