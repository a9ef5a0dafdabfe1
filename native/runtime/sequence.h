// One timeline of tokens, between the host that feeds and drains it and the token loop that extends it.
//
// A request appends tokens, evaluates them in chunks and generates. What it generated last has no place in the KV cache yet:
// who goes on begins the next request with the tokens from length() on.
// Threads: public functions by the host, any thread; LoopSide by the token loop. Rings are drained under the queue's mutex,
// because their memory goes away when the engine closes; the loop itself pushes without a lock.
// Allocates: start() (the request); never in the loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "native/base/status.h"
#include "native/runtime/measure.h"
#include "native/runtime/ring_cursor.h"
#include "native/runtime/sampler.h"
#include "native/runtime/token_record.h"
#include "native/runtime/work_queue.h"

namespace hypura::runtime {

enum class LogitsWanted : uint8_t { kNone, kAll };

struct Request {
  std::vector<uint32_t> tokens;
  uint32_t max_tokens = 0;
  std::vector<uint32_t> stop_tokens;
  Sampling sampling;
  LogitsWanted logits = LogitsWanted::kNone;
  uint32_t pending_tokens_max = 1;
};

// Cross the border as names (native/addon/convert.h).
enum class Phase : uint8_t { kIdle, kQueued, kPrefill, kDecode, kPaused, kDone };
enum class FinishReason : uint8_t { kNone, kStopToken, kLength, kContextFull, kCancelled, kError };

struct SequenceState {
  Phase phase = Phase::kIdle;
  uint32_t prompt_processed = 0;
  uint32_t prompt_total = 0;
  uint32_t length = 0;
  FinishReason finish_reason = FinishReason::kNone;
  Status error;
  uint64_t prefill_ns = 0;  // time in sweeps of the prompt, waits for the reader not counted
  uint64_t decode_ns = 0;
};

class Sequence : public std::enable_shared_from_this<Sequence> {
 public:
  struct Limits {
    uint32_t n_ctx;
    uint32_t n_vocab;
    uint32_t logits_rows;
  };
  // What events call it by: counts the engine's sequences from 1, and whose it is, 0 for nobody's.
  struct Label {
    uint32_t number;
    uint32_t client;
  };
  // wake: called when something can be drained or changed, by any thread; at most once until acknowledge_wake().
  Sequence(std::shared_ptr<WorkQueue> queue, uint32_t slot, const Label& label,
           const Limits& limits, std::function<void()> wake);
  ~Sequence();  // gives the slot back

  // Errors: kClosed, kBusy, kInvalidArgument, kContextOverflow with both numbers, what made the engine fatal.
  Status start(Request request);
  // Records copied. What is left of an earlier request is forgotten by start().
  uint32_t drain_tokens(std::span<TokenRecord> into);
  // Whole rows copied; into: as many rows of n_vocab floats as fit.
  uint32_t drain_logits(std::span<float> into);
  SequenceState state() const;
  void cancel();
  // Errors: kBusy, kClosed, kInvalidArgument when the sequence is shorter.
  Status truncate(uint32_t length);
  // Cancels what runs and gives the slot back; closed() tells when, and wake is called then.
  void close();
  bool closed() const;
  // Before the host looks at what is new: from here on the next news wakes again. An exchange, because a plain store could
  // be overtaken by the look that follows it, and the news between the two would wake nobody.
  void acknowledge_wake() { wake_outstanding_.exchange(false, std::memory_order_acq_rel); }

  uint32_t n_vocab() const { return limits_.n_vocab; }

 private:
  friend class LoopSide;
  bool is_running() const;  // queue's mutex held
  void release_slot();      // queue's mutex held

  const std::shared_ptr<WorkQueue> queue_;
  const uint32_t slot_;
  const Label label_;
  const Limits limits_;
  const std::function<void()> wake_;

  // Guarded by the queue's mutex.
  Status error_;
  bool close_asked_ = false;
  bool closed_ = false;

  // Owned by the loop while a request runs, by the host otherwise; handed over under the mutex.
  Request request_;
  SequenceBuffers buffers_;
  uint32_t generated_ = 0;

  // Written by whoever owns the above, read by anyone.
  std::atomic<Phase> phase_{Phase::kIdle};
  std::atomic<FinishReason> finish_reason_{FinishReason::kNone};
  std::atomic<uint32_t> prompt_processed_{0};
  std::atomic<uint32_t> prompt_total_{0};
  std::atomic<uint32_t> length_{0};
  std::atomic<uint64_t> prefill_ns_{0};
  std::atomic<uint64_t> decode_ns_{0};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> wake_outstanding_{false};

  RingCursor token_ring_;
  RingCursor logits_ring_;
};

// What the token loop may do with a sequence whose request it serves. A view: copying costs nothing.
class LoopSide {
 public:
  explicit LoopSide(Sequence& sequence) : s_(sequence) {}

  uint32_t slot() const { return s_.slot_; }
  uint32_t number() const { return s_.label_.number; }
  uint32_t client() const { return s_.label_.client; }
  const Request& request() const { return s_.request_; }
  uint32_t length() const { return s_.length_.load(std::memory_order_relaxed); }
  uint32_t n_ctx() const { return s_.limits_.n_ctx; }
  uint32_t prompt_processed() const { return s_.prompt_processed_.load(std::memory_order_relaxed); }
  bool prompt_done() const { return prompt_processed() == s_.request_.tokens.size(); }
  uint32_t generated() const { return s_.generated_; }
  Phase phase() const { return s_.phase_.load(std::memory_order_relaxed); }
  void set_phase(Phase phase) { s_.phase_.store(phase, std::memory_order_release); }
  const std::atomic<bool>& cancelled() const { return s_.cancelled_; }
  // Tokens at positions 0 .. n_ctx; the loop writes what it evaluates and samples.
  std::span<uint32_t> history() const {
    return {s_.buffers_.history, uint64_t{s_.limits_.n_ctx} + 1};
  }

  void place(const SequenceBuffers& buffers) { s_.buffers_ = buffers; }  // queue's mutex held
  // Positions were evaluated: n of the prompt, or one generated token.
  void advance(uint32_t n, uint32_t prompt_positions, uint64_t sweep_ns);
  bool has_room_for_token() const { return s_.token_ring_.used() < s_.request_.pending_tokens_max; }
  void push_token(uint32_t token, float log_probability, bool stop);
  // Waits until the reader made room; kCancelled when it will not.
  Status push_logits(const float* row);
  void ask_to_stop() { s_.cancelled_ = true; }
  // The request ended; takes the queue's mutex.
  void finish(FinishReason reason, Status error);
  void wake();

 private:
  Sequence& s_;
};

}  // namespace hypura::runtime
