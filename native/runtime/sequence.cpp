#include "native/runtime/sequence.h"

#include <algorithm>
#include <cstring>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"
#include "native/base/limits.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

// Stop tokens of one request: a vocabulary has a handful of them, and each sampled token is compared with all.
constexpr size_t kStopTokensMax = 1024;

Status check_request(const Request& request, const Sequence::Limits& limits) {
  if (request.tokens.empty())
    return Status::error(Code::kInvalidArgument, "a request needs at least one token");
  if (request.stop_tokens.size() > kStopTokensMax)
    return Status::error(
        Code::kInvalidArgument,
        text(request.stop_tokens.size(), " stop tokens, at most ", kStopTokensMax, " are allowed"));
  for (size_t i = 0; i < request.tokens.size(); ++i)
    if (request.tokens[i] >= limits.n_vocab)
      return Status::error(Code::kInvalidArgument,
                           text("token ", i, " is ", request.tokens[i], ", the model has ",
                                limits.n_vocab, " tokens"));
  if (request.pending_tokens_max == 0 || request.pending_tokens_max > kPendingTokensMax)
    return Status::error(Code::kInvalidArgument,
                         text("pendingTokensMax is ", request.pending_tokens_max,
                              ", allowed are 1 to ", kPendingTokensMax));
  return check_sampling(request.sampling);
}

Status closed_status() { return Status::error(Code::kClosed, "the sequence was closed"); }
Status busy_status() {
  return Status::error(Code::kBusy,
                       "the sequence runs a request: wait until it is done, or cancel it");
}

}  // namespace

Sequence::Sequence(std::shared_ptr<WorkQueue> queue, uint32_t slot, const Label& label,
                   const Limits& limits, std::function<void()> wake)
    : queue_(std::move(queue)),
      slot_(slot),
      label_(label),
      limits_(limits),
      wake_(std::move(wake)),
      token_ring_(kPendingTokensMax),
      logits_ring_(limits.logits_rows) {}

Sequence::~Sequence() {
  const std::lock_guard lock(queue_->mutex);
  if (!closed_) release_slot();
}

Status Sequence::start(Request request) {
  HYPURA_TRY(check_request(request, limits_));
  {
    const std::lock_guard lock(queue_->mutex);
    if (closed_ || close_asked_ || queue_->closing) return closed_status();
    if (is_running()) return busy_status();
    if (!queue_->fatal.ok()) return queue_->fatal;
    const uint64_t wanted = uint64_t{length_.load()} + request.tokens.size();
    if (wanted > limits_.n_ctx)
      return Status::error(Code::kContextOverflow,
                           text(request.tokens.size(), " tokens after ", length_.load(), " are ",
                                wanted, " positions, the context holds ", limits_.n_ctx));
    request_ = std::move(request);
    generated_ = 0;
    error_ = {};
    finish_reason_ = FinishReason::kNone;
    prompt_processed_ = 0;
    prompt_total_ = static_cast<uint32_t>(request_.tokens.size());
    prefill_ns_ = 0;
    decode_ns_ = 0;
    cancelled_ = false;
    token_ring_.clear();
    logits_ring_.clear();
    phase_ = Phase::kQueued;
    queue_->running.push_back(shared_from_this());
  }
  queue_->changed.notify_all();
  return {};
}

uint32_t Sequence::drain_tokens(std::span<TokenRecord> into) {
  uint32_t count = 0;
  {
    const std::lock_guard lock(queue_->mutex);
    if (!queue_->buffers_alive || buffers_.tokens == nullptr) return 0;
    const uint32_t available = token_ring_.used();
    for (; count < into.size() && count < available; ++count) {
      into[count] = buffers_.tokens[token_ring_.read_slot()];
      token_ring_.consume();
    }
  }
  if (count > 0) queue_->changed.notify_all();
  return count;
}

uint32_t Sequence::drain_logits(std::span<float> into) {
  uint32_t rows = 0;
  {
    const std::lock_guard lock(queue_->mutex);
    if (!queue_->buffers_alive || buffers_.logits == nullptr) return 0;
    const uint32_t available = logits_ring_.used();
    const uint64_t n_vocab = limits_.n_vocab;
    for (; rows < into.size() / n_vocab && rows < available; ++rows) {
      std::memcpy(into.data() + rows * n_vocab,
                  buffers_.logits + logits_ring_.read_slot() * n_vocab, n_vocab * sizeof(float));
      logits_ring_.consume();
    }
  }
  if (rows > 0) queue_->changed.notify_all();
  return rows;
}

SequenceState Sequence::state() const {
  const std::lock_guard lock(queue_->mutex);
  return {.phase = phase_,
          .prompt_processed = prompt_processed_,
          .prompt_total = prompt_total_,
          .length = length_,
          .finish_reason = finish_reason_,
          .error = error_,
          .prefill_ns = prefill_ns_,
          .decode_ns = decode_ns_};
}

void Sequence::cancel() {
  {
    const std::lock_guard lock(queue_->mutex);
    cancelled_ = true;
  }
  queue_->changed.notify_all();
}

Status Sequence::truncate(uint32_t length) {
  const std::lock_guard lock(queue_->mutex);
  if (closed_ || close_asked_ || queue_->closing) return closed_status();
  if (is_running()) return busy_status();
  if (length > length_)
    return Status::error(Code::kInvalidArgument, text("the sequence has ", length_.load(),
                                                      " positions, it cannot be cut to ", length));
  length_ = length;
  return {};
}

void Sequence::close() {
  {
    const std::lock_guard lock(queue_->mutex);
    if (closed_ || close_asked_) return;
    close_asked_ = true;
    cancelled_ = true;
    if (!is_running()) release_slot();
  }
  queue_->changed.notify_all();
}

bool Sequence::closed() const {
  const std::lock_guard lock(queue_->mutex);
  return closed_;
}

bool Sequence::is_running() const {
  const Phase phase = phase_.load(std::memory_order_relaxed);
  return phase != Phase::kIdle && phase != Phase::kDone;
}

void Sequence::release_slot() {
  closed_ = true;
  buffers_ = {};  // the next sequence of this slot writes there
  queue_->slot_taken[slot_] = false;
}

void LoopSide::advance(uint32_t n, uint32_t prompt_positions, uint64_t sweep_ns) {
  s_.length_.fetch_add(n, std::memory_order_relaxed);
  s_.prompt_processed_.fetch_add(prompt_positions, std::memory_order_relaxed);
  (prompt_positions > 0 ? s_.prefill_ns_ : s_.decode_ns_)
      .fetch_add(sweep_ns, std::memory_order_relaxed);
}

void LoopSide::push_token(uint32_t token, float log_probability, bool stop) {
  CHECK(s_.token_ring_.free() >
        0);  // has_room_for_token() was asked, and pending_tokens_max is at most the capacity
  s_.buffers_.tokens[s_.token_ring_.write_slot()] = {.token = token,
                                                     .position = length(),
                                                     .log_probability = log_probability,
                                                     .flags = stop ? kTokenFlagStop : 0u};
  s_.token_ring_.publish();
  s_.buffers_.history[length()] = token;
  ++s_.generated_;
}

Status LoopSide::push_logits(const float* row) {
  if (s_.logits_ring_.free() == 0) {
    const Phase phase_before = phase();
    set_phase(Phase::kPaused);
    wake();
    std::unique_lock lock(s_.queue_->mutex);
    s_.queue_->changed.wait(lock, [this] { return s_.logits_ring_.free() > 0 || s_.cancelled_; });
    set_phase(phase_before);
    if (s_.cancelled_) {
      const HotPathPause pause;
      return Status::error(Code::kCancelled, "the request was cancelled");
    }
  }
  const uint64_t n_vocab = s_.limits_.n_vocab;
  std::memcpy(s_.buffers_.logits + s_.logits_ring_.write_slot() * n_vocab, row,
              n_vocab * sizeof(float));
  s_.logits_ring_.publish();
  return {};
}

void LoopSide::finish(FinishReason reason, Status error) {
  {
    const std::lock_guard lock(s_.queue_->mutex);
    s_.error_ = std::move(error);
    s_.finish_reason_ = reason;
    s_.phase_ = Phase::kDone;
    std::erase_if(s_.queue_->running, [this](const auto& other) { return other.get() == &s_; });
    if (s_.close_asked_) s_.release_slot();
  }
  wake();
}

void LoopSide::wake() {
  if (!s_.wake_outstanding_.exchange(true, std::memory_order_acq_rel)) s_.wake_();
}

}  // namespace hypura::runtime
