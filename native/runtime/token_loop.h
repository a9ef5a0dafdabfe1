// Serves the requests of one engine's sequences, one sweep at a time and in turn.
//
// Between sweeps it looks at the queue under its mutex; inside a sweep it takes no lock (but to wait for a reader of
// logits), allocates nothing and calls nothing of the host (I5): tokens go to a ring, events to another, and one wake at
// most is outstanding per sequence.
// Thread: run() on the engine's own thread.   Allocates: between requests and on error paths only.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

#include "native/base/limits.h"
#include "native/base/status.h"
#include "native/model/token_batch.h"
#include "native/runtime/opened_model.h"
#include "native/runtime/resizer.h"
#include "native/runtime/sequence.h"
#include "native/runtime/work_queue.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/plan_mailbox.h"

namespace hypura::runtime {

// Since load; read by any thread.
struct LoopCounters {
  std::atomic<uint64_t> sweeps{0};
  std::atomic<uint64_t> positions{0};
  std::atomic<uint64_t> tokens{0};
  std::atomic<uint64_t> sweep_ns{0};
  std::atomic<uint64_t> requests{0};
  std::atomic<uint32_t> plan_number{0};
  std::atomic<uint64_t> budget_bytes{0};  // in force
};

class TokenLoop final : private model::SweepObserver {
 public:
  struct Parts {
    WorkQueue& queue;
    OpenedModel& model;
    const LoadMessage& message;
    scheduler::PlanMailbox& plans;
    scheduler::EventRing& events;
    LoopCounters& counters;
    const std::atomic<bool>& cancelled;  // the engine closes
    std::function<void()> job_done;      // a read or resize job's result can be fetched
  };
  explicit TokenLoop(Parts parts);

  // Until the queue is closing; sequences whose requests still run are finished as cancelled by whoever called.
  void run();

 private:
  // What one sweep takes: entries_[0 .. count), of the prompt or one generated token.
  struct Step {
    uint32_t count = 0;
    bool of_prompt = false;
    bool samples = false;  // its last position's logits choose the next token
    uint32_t rows = 0;     // entries that want logits
    bool next_with_head = true;
  };

  // What is known of a copy of the model, where there are several.
  struct CopyCheck {
    uint64_t good_bytes = 0;  // read from it while it was known to be unchanged
    bool changed = false;
    bool forgotten = false;  // dropped, with what was read from it
  };

  std::shared_ptr<Sequence> next();
  std::shared_ptr<Sequence> runnable();
  bool can_go_on(LoopSide sequence) const;
  scheduler::ResizeProgress resize(std::unique_lock<std::mutex>& lock);
  void serve(LoopSide sequence);
  Status begin(LoopSide sequence);
  Status check_files() const;
  bool was_changed(uint32_t copy) const;
  bool finds_changed_copies();
  Status drop_changed_copies();
  Status advance(LoopSide sequence);
  Step make_step(LoopSide sequence);
  Status sound_sweep(LoopSide sequence, const Step& step);
  bool continues_last(LoopSide sequence) const;
  Status sweep(LoopSide sequence, const Step& step);
  Status sample(LoopSide sequence);
  void fail(LoopSide sequence, Status status);
  Status fatal_status() const;
  static Status on_logits(void* context, uint32_t first_row, uint32_t n_rows, const float* logits);

  void on_route(uint16_t layer, uint32_t entry, std::span<const uint16_t> experts,
                std::span<const float> weights) override;
  void on_union(uint16_t layer, std::span<const uint16_t> experts) override;
  void on_absent(uint16_t layer, std::span<const uint16_t> experts) override;
  void record_sweep(LoopSide sequence);
  void record_experts(scheduler::EventKind kind, uint16_t layer, std::span<const uint16_t> experts);
  void record_token(uint32_t token);

  Parts parts_;
  Resizer resizer_;
  uint32_t turn_ = 0;  // index into the queue's running sequences
  uint32_t sweep_number_ = 0;
  // Where the last sweep ended; of sequence 0: it failed.
  uint32_t last_sequence_ = 0;
  uint32_t next_position_ = 0;
  std::array<model::TokenEntry, kBatchPositionsMax> entries_;

  // Of the sweep that runs.
  Step step_;
  LoopSide* sequence_ = nullptr;
  uint64_t sweep_ns_ = 0;
  uint64_t stall_ns_ = 0;
  uint32_t rows_given_ = 0;  // rows of logits, also by an attempt before this one
  std::array<CopyCheck, kCopiesMax> copies_;
};

}  // namespace hypura::runtime
