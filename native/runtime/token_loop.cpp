#include "native/runtime/token_loop.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/hot_path_guard.h"
#include "native/runtime/read_job.h"

namespace hypura::runtime {
namespace {

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

bool contains(std::span<const uint32_t> tokens, uint32_t token) {
  return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
}

// Between two looks at reads that a resize waits for, when there is nothing else to do.
constexpr std::chrono::milliseconds kResizePoll{5};

uint64_t whole_pages(uint64_t bytes) { return align_up(bytes, kDirectAlignmentBytes); }

}  // namespace

TokenLoop::TokenLoop(Parts parts)
    : parts_(std::move(parts)),
      resizer_({.cache = *parts_.model.cache,
                .loaded_bytes = parts_.message.budget.budget_bytes,
                .beside_bytes = whole_pages(parts_.message.budget.kv_bytes) +
                                whole_pages(parts_.message.budget.scratch_bytes),
                .arena_bytes = parts_.model.facts.arena_bytes,
                .budget_bytes = parts_.counters.budget_bytes,
                .job_done = parts_.job_done}) {}

void TokenLoop::run() {
  while (const std::shared_ptr<Sequence> sequence = next()) serve(LoopSide(*sequence));
  resizer_.end(Status::error(Code::kClosed, "the engine was closed"));
}

// Waits for work. Read jobs and steps of a resize are done on the way; null when the queue is closing.
std::shared_ptr<Sequence> TokenLoop::next() {
  std::unique_lock lock(parts_.queue.mutex);
  for (;;) {
    const scheduler::ResizeProgress progress = resize(lock);
    std::shared_ptr<Sequence> sequence;
    const auto work = [&] {
      return parts_.queue.closing || !parts_.queue.jobs.empty() ||
             !parts_.queue.resizes.empty() || (sequence = runnable()) != nullptr;
    };
    if (progress == scheduler::ResizeProgress::kDone)
      parts_.queue.changed.wait(lock, work);
    else if (progress == scheduler::ResizeProgress::kWaits)
      parts_.queue.changed.wait_for(lock, kResizePoll, work);
    else
      (void)work();
    if (parts_.queue.closing) return nullptr;
    if (sequence != nullptr) return sequence;
    if (parts_.queue.jobs.empty()) continue;
    const std::shared_ptr<ReadJob> job = std::move(parts_.queue.jobs.front());
    parts_.queue.jobs.pop_front();
    lock.unlock();
    job->status = run_read_job(*job, parts_.message.table, parts_.model.files, parts_.message.n_files(),
                               parts_.model.cache->counters().copies, parts_.cancelled);
    job->done.store(true, std::memory_order_release);
    parts_.job_done();
    lock.lock();
  }
}

// Takes requests and goes one step on. Queue's mutex held on entry and exit, not in between.
scheduler::ResizeProgress TokenLoop::resize(std::unique_lock<std::mutex>& lock) {
  while (!parts_.queue.resizes.empty()) {
    std::shared_ptr<ResizeJob> job = std::move(parts_.queue.resizes.front());
    parts_.queue.resizes.pop_front();
    lock.unlock();
    resizer_.begin(std::move(job));
    lock.lock();
  }
  if (!resizer_.active()) return scheduler::ResizeProgress::kDone;
  lock.unlock();
  const scheduler::ResizeProgress progress = resizer_.step();
  lock.lock();
  return progress;
}

bool TokenLoop::can_go_on(LoopSide sequence) const {
  if (sequence.cancelled().load(std::memory_order_relaxed)) return true;
  return parts_.model.cache->sweepable() &&
         (sequence.phase() != Phase::kPaused || sequence.has_room_for_token());
}

// The next sequence in turn that can go on; null when all wait for their readers. Queue's mutex held.
std::shared_ptr<Sequence> TokenLoop::runnable() {
  const auto& running = parts_.queue.running;
  for (uint32_t i = 0; i < running.size(); ++i) {
    const uint32_t index = (turn_ + i) % static_cast<uint32_t>(running.size());
    if (!can_go_on(LoopSide(*running[index]))) continue;
    turn_ = index + 1;
    return running[index];
  }
  return nullptr;
}

void TokenLoop::serve(LoopSide sequence) {
  if (sequence.cancelled().load(std::memory_order_relaxed))
    return sequence.finish(FinishReason::kCancelled, {});
  if (Status fatal = fatal_status(); !fatal.ok())
    return sequence.finish(FinishReason::kError, std::move(fatal));
  Status status = sequence.phase() == Phase::kQueued ? begin(sequence) : Status{};
  if (sequence.phase() == Phase::kPaused) sequence.set_phase(Phase::kDecode);
  if (status.ok()) status = advance(sequence);
  if (!status.ok()) fail(sequence, std::move(status));
}

Status TokenLoop::begin(LoopSide sequence) {
  parts_.counters.requests.fetch_add(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(parts_.queue.mutex);
    sequence.place(parts_.model.scratch->sequences[sequence.slot()]);
  }
  HYPURA_TRY(check_files());
  // The host may have cut the timeline, or begun a new one on an old slot.
  parts_.model.kv->truncate(sequence.slot(), sequence.length());
  const Request& request = sequence.request();
  std::copy(request.tokens.begin(), request.tokens.end(),
            sequence.history().begin() + sequence.length());
  sequence.set_phase(Phase::kPrefill);
  return {};
}

// The model's own files must be what they were. Mirrors are looked at when something was read from them.
Status TokenLoop::check_files() const {
  for (uint32_t i = 0; i < parts_.message.n_files(); ++i) {
    const Status unchanged = parts_.model.files[i].check_unchanged();
    if (unchanged.ok()) continue;
    // A drive that does not even answer this is no other model: its reads go to the other copies.
    if (unchanged.code() == Code::kIo && parts_.message.copies.copies > 1) continue;
    Status::Detail detail = *unchanged.detail();
    detail.file = i;
    return Status(std::move(detail));
  }
  return {};
}

bool TokenLoop::was_changed(uint32_t copy) const {
  const uint32_t n_files = parts_.message.n_files();
  const HotPathPause pause;  // the answer has a sentence
  for (uint32_t i = 0; i < n_files; ++i)
    if (parts_.model.files[copy * n_files + i].check_unchanged().code() == Code::kModelChanged)
      return true;
  return false;
}

// Whether a copy is not what it was and something was read from it meanwhile. The bytes are counted before the files are
// looked at, and a file's time changes before its bytes do: what was counted by then is good when the answer is no.
bool TokenLoop::finds_changed_copies() {
  if (parts_.message.copies.copies == 1) return false;
  bool found = false;
  for (uint32_t i = 0; i < parts_.message.copies.copies; ++i) {
    CopyCheck& copy = copies_[i];
    if (copy.forgotten) continue;
    const scheduler::CopyCounters& counters = parts_.model.cache->counters().copies[i];
    const uint64_t read_bytes = counters.read_bytes.load(std::memory_order_relaxed);
    // The I/O thread drops what was cut. What it gave before that may be wrong as well.
    if (counters.state.load(std::memory_order_relaxed) == scheduler::CopyState::kDropped)
      copy.changed = true;
    else if (read_bytes != copy.good_bytes)
      copy.changed = was_changed(i);
    copy.good_bytes = read_bytes;
    found |= copy.changed;
  }
  return found;
}

// Between sweeps. Error: kModelChanged when it is the model itself, whose bytes may be in places that are not forgotten.
Status TokenLoop::drop_changed_copies() {
  const HotPathPause pause;
  HYPURA_TRY(check_files());
  for (uint32_t i = 0; i < parts_.message.copies.copies; ++i)
    if (copies_[i].changed && !std::exchange(copies_[i].forgotten, true))
      parts_.model.cache->drop_copy(i);
  return {};
}

// One sweep, and what follows from it.
Status TokenLoop::advance(LoopSide sequence) {
  const Request& request = sequence.request();
  {
    const HotPathGuard guard;
    const Step step = make_step(sequence);
    HYPURA_TRY(sound_sweep(sequence, step));
    sequence.advance(step.count, step.of_prompt ? step.count : 0, sweep_ns_);
    if (!step.samples) record_token(0xffffffffu);
    if (step.samples) HYPURA_TRY(sample(sequence));
  }
  if (!sequence.prompt_done()) {
    sequence.wake();
    return {};
  }
  const uint32_t length = sequence.length();
  FinishReason reason = FinishReason::kNone;
  if (sequence.generated() > 0 && contains(request.stop_tokens, sequence.history()[length]))
    reason = FinishReason::kStopToken;
  else if (sequence.generated() == request.max_tokens)
    reason = FinishReason::kLength;
  else if (length == sequence.n_ctx())
    reason = FinishReason::kContextFull;
  if (reason != FinishReason::kNone) {
    sequence.finish(reason, {});
  } else {
    sequence.set_phase(sequence.has_room_for_token() ? Phase::kDecode : Phase::kPaused);
    sequence.wake();
  }
  return {};
}

TokenLoop::Step TokenLoop::make_step(LoopSide sequence) {
  const Request& request = sequence.request();
  const uint32_t remaining =
      static_cast<uint32_t>(request.tokens.size()) - sequence.prompt_processed();
  const uint32_t batch = parts_.message.budget.batch_positions;
  Step step;
  step.of_prompt = remaining > 0;
  step.count = step.of_prompt ? std::min(remaining, batch) : 1;
  step.samples = step.count >= remaining && request.max_tokens > 0;
  const bool all = request.logits == LogitsWanted::kAll;
  step.rows = all ? step.count : step.samples ? 1 : 0;
  const uint32_t left = step.of_prompt ? remaining - step.count : 0;
  step.next_with_head = all || (left <= batch && request.max_tokens > 0);
  for (uint32_t i = 0; i < step.count; ++i) {
    const uint32_t position = sequence.length() + i;
    entries_[i] = {.token = sequence.history()[position],
                   .position = position,
                   .sequence = sequence.slot(),
                   .wants_logits = all || (step.samples && i + 1 == step.count)};
  }
  return step;
}

bool TokenLoop::continues_last(LoopSide sequence) const {
  return sequence.number() == last_sequence_ && entries_[0].position == next_position_;
}

// A sweep that read a changed copy is made again without it, whatever it came to: its bytes may have been others. Each
// time a copy less is left, so this ends.
Status TokenLoop::sound_sweep(LoopSide sequence, const Step& step) {
  rows_given_ = 0;
  for (;;) {
    Status status = sweep(sequence, step);
    if (!finds_changed_copies()) return status;
    HYPURA_TRY(drop_changed_copies());
    parts_.model.kv->truncate(sequence.slot(), sequence.length());
  }
}

Status TokenLoop::sweep(LoopSide sequence, const Step& step) {
  const uint64_t begin = now_ns();
  const uint64_t stall_before =
      parts_.model.cache->counters().stall_ns.load(std::memory_order_relaxed);
  const scheduler::Plan& plan = parts_.plans.take();
  parts_.counters.plan_number.store(plan.sequence_number, std::memory_order_relaxed);
  step_ = step;
  sequence_ = &sequence;
  parts_.model.cache->begin_sweep(plan, {.number = ++sweep_number_,
                                         .with_head = step.rows > 0,
                                         .next_with_head = step.next_with_head,
                                         .prefill = step.count > 1,
                                         .continues = continues_last(sequence),
                                         .cancelled = &sequence.cancelled()});
  record_sweep(sequence);
  const Status status =
      parts_.model.decoder->sweep({.entries = std::span(entries_).first(step.count),
                                   .on_logits = on_logits,
                                   .logits_context = this,
                                   .observer = this,
                                   .cancelled = &sequence.cancelled()});
  parts_.model.cache->end_sweep();
  last_sequence_ = status.ok() ? sequence.number() : 0;
  next_position_ = entries_[0].position + step.count;
  sweep_ns_ = now_ns() - begin;
  stall_ns_ =
      parts_.model.cache->counters().stall_ns.load(std::memory_order_relaxed) - stall_before;
  parts_.counters.sweeps.fetch_add(1, std::memory_order_relaxed);
  parts_.counters.sweep_ns.fetch_add(sweep_ns_, std::memory_order_relaxed);
  if (status.ok()) parts_.counters.positions.fetch_add(step.count, std::memory_order_relaxed);
  return status;
}

Status TokenLoop::on_logits(void* context, uint32_t first_row, uint32_t n_rows,
                            const float* logits) {
  TokenLoop& loop = *static_cast<TokenLoop*>(context);
  const uint64_t n_vocab = loop.parts_.message.spec.n_vocab;
  if (loop.finds_changed_copies()) {
    const HotPathPause pause;
    return Status::error(Code::kModelChanged, "a copy of the model was changed during a sweep");
  }
  if (loop.sequence_->request().logits == LogitsWanted::kAll) {
    // Rows that were given before this sweep was made again are good: nothing had changed then.
    for (; loop.rows_given_ < first_row + n_rows; ++loop.rows_given_)
      HYPURA_TRY(
          loop.sequence_->push_logits(logits + (loop.rows_given_ - first_row) * n_vocab));
    loop.sequence_->wake();
  }
  if (loop.step_.samples && first_row + n_rows == loop.step_.rows) {
    const std::span<float> row = loop.parts_.model.scratch->sampler.row();
    std::memcpy(row.data(), logits + (n_rows - 1) * n_vocab, n_vocab * sizeof(float));
  }
  return {};
}

Status TokenLoop::sample(LoopSide sequence) {
  const uint32_t position = sequence.length();
  const Request& request = sequence.request();
  HYPURA_TRY_ASSIGN(const Choice choice,
                    parts_.model.scratch->sampler.choose(
                        request.sampling, sequence.history().first(position), position));
  sequence.push_token(choice.token, choice.log_probability,
                      contains(request.stop_tokens, choice.token));
  parts_.counters.tokens.fetch_add(1, std::memory_order_relaxed);
  record_token(choice.token);
  return {};
}

// What broke while another sequence was served: nothing is computed any more.
Status TokenLoop::fatal_status() const {
  const std::lock_guard lock(parts_.queue.mutex);
  return parts_.queue.fatal;
}

void TokenLoop::fail(LoopSide sequence, Status status) {
  if (status.code() == Code::kCancelled) return sequence.finish(FinishReason::kCancelled, {});
  if (status.code() == Code::kInternal) {
    const std::lock_guard lock(parts_.queue.mutex);
    parts_.queue.fatal = status;
  }
  sequence.finish(FinishReason::kError, std::move(status));
}

// One position: its choice, best first. Several: their union, which is what was read.
void TokenLoop::on_route(uint16_t layer, uint32_t, std::span<const uint16_t> experts,
                         std::span<const float>) {
  if (step_.count == 1) record_experts(scheduler::EventKind::kRoute, layer, experts);
}
void TokenLoop::on_union(uint16_t layer, std::span<const uint16_t> experts) {
  if (step_.count > 1) record_experts(scheduler::EventKind::kRoute, layer, experts);
}
void TokenLoop::on_absent(uint16_t layer, std::span<const uint16_t> experts) {
  if (step_.count == 1) record_experts(scheduler::EventKind::kAbsent, layer, experts);
}

void TokenLoop::record_sweep(LoopSide sequence) {
  scheduler::Event event{};
  event.time_ns = now_ns();
  event.sweep = sweep_number_;
  event.layer = model::kNoLayer;
  event.kind = scheduler::EventKind::kSweep;
  event.count = 1;
  event.words[0] = sequence.number();
  event.words[1] = sequence.client();
  event.words[2] = entries_[0].position;
  event.words[3] = step_.count;
  parts_.events.push(event);
}

void TokenLoop::record_experts(scheduler::EventKind kind, uint16_t layer,
                               std::span<const uint16_t> experts) {
  scheduler::Event event{};
  constexpr size_t kPerRecord = std::extent_v<decltype(event.experts)>;
  event.time_ns = now_ns();
  event.sweep = sweep_number_;
  event.layer = layer;
  event.kind = kind;
  while (!experts.empty()) {
    const size_t count = std::min(experts.size(), kPerRecord);
    event.count = static_cast<uint8_t>(count);
    std::copy_n(experts.begin(), count, event.experts);
    parts_.events.push(event);
    experts = experts.subspan(count);
  }
}

// One record per sweep; token 0xffffffff when none was sampled.
void TokenLoop::record_token(uint32_t token) {
  scheduler::Event event{};
  event.time_ns = now_ns();
  event.sweep = sweep_number_;
  event.layer = model::kNoLayer;
  event.kind = scheduler::EventKind::kToken;
  event.count = 1;
  event.words[0] = token;
  event.words[1] = step_.count;
  event.words[2] = static_cast<uint32_t>((sweep_ns_ - std::min(stall_ns_, sweep_ns_)) / 1000);
  event.words[3] = static_cast<uint32_t>(stall_ns_ / 1000);
  parts_.events.push(event);
}

}  // namespace hypura::runtime
