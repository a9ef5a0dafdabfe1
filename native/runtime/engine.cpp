#include "native/runtime/engine.h"

#include <algorithm>
#include <new>
#include <system_error>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/base/short_slices.h"
#include "native/base/signals.h"
#include "native/kernels/float_state.h"
#include "native/runtime/probe.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

// One read job is copied through memory as a whole.
constexpr uint64_t kJobBytesMax = 1ull << 30;

Result<EngineOptions> choose_options(EngineOptions options) {
  if (options.threads == 0) options.threads = default_threads();
  if (options.threads > kThreadsMax)
    return Status::error(Code::kInvalidArgument,
                         text("threads is ", options.threads, ", allowed are 0 to ", kThreadsMax));
  if (options.io_depth == 0) options.io_depth = kIoDepthDefault;
  if (options.io_depth > kIoDepthMax)
    return Status::error(Code::kInvalidArgument,
                         text("ioDepth is ", options.io_depth, ", allowed are 0 to ", kIoDepthMax));
  return options;
}

Result<MemoryMeasure> check_measure(const LoadMessage& message, const EngineOptions& options) {
  HYPURA_TRY_ASSIGN(const MemoryMeasure needed,
                    measure(message.spec, measure_options(message, options.threads)));
  const LoadBudget& budget = message.budget;
  if (budget.kv_bytes < needed.kv_bytes || budget.scratch_bytes < needed.scratch_bytes)
    return Status::error(Code::kBadLoad,
                         text("the budget has ", budget.kv_bytes, " bytes for the KV cache and ",
                              budget.scratch_bytes, " for scratch, ", options.threads,
                              " threads need ", needed.kv_bytes, " and ", needed.scratch_bytes));
  return needed;
}

using OwnedPlan = std::unique_ptr<const scheduler::Plan>;

Result<OwnedPlan> decode_plan(std::span<const std::byte> bytes, const LoadMessage& message) {
  return scheduler::decode_plan(bytes, message.table, message.budget.pin_count,
                                message.budget.pool_slots);
}

// Of the bytes in the options, which are given back.
Result<OwnedPlan> first_plan(const LoadMessage& message, EngineOptions& options) {
  const std::vector<std::byte> bytes = std::move(options.plan);
  if (!bytes.empty()) return decode_plan(bytes, message);
  auto plan = std::make_unique<scheduler::Plan>();
  plan->pin_count = message.budget.pin_count;
  return OwnedPlan(std::move(plan));
}

Status closed_status() { return Status::error(Code::kClosed, "the engine was closed"); }

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(std::span<const std::byte> load,
                                               const EngineOptions& options,
                                               std::function<void()> notify) {
  HYPURA_TRY_ASSIGN(LoadMessage message, decode_load(load));
  HYPURA_TRY_ASSIGN(EngineOptions chosen, choose_options(options));
  HYPURA_TRY_ASSIGN(const MemoryMeasure needed, check_measure(message, chosen));
  HYPURA_TRY_ASSIGN(OwnedPlan plan, first_plan(message, chosen));
  std::unique_ptr<Engine> engine(new Engine(std::move(message), std::move(chosen), std::move(plan),
                                            needed, std::move(notify)));
  const SignalsBlocked blocked;  // also for the threads that this one starts
  try {
    engine->thread_ = Thread([raw = engine.get()] { raw->main(); });
  } catch (const std::system_error& error) {
    return Status::error(Code::kInsufficientMemory,
                         text("the engine's thread could not be started: ", error.what()));
  }
  return engine;
}

Engine::Engine(LoadMessage message, EngineOptions options,
               std::unique_ptr<const scheduler::Plan> plan, MemoryMeasure measure,
               std::function<void()> notify)
    : message_(std::move(message)),
      options_(std::move(options)),
      measure_(measure),
      notify_(std::move(notify)),
      events_(kEventRingRecords),
      plans_(std::move(plan)),
      queue_(std::make_shared<WorkQueue>()) {
  queue_->running.reserve(message_.budget.n_sequences);
  queue_->slot_taken.resize(message_.budget.n_sequences);
  loop_counters_.budget_bytes = message_.budget.budget_bytes;
}

Engine::~Engine() {
  close();
  if (thread_.joinable()) thread_.join();
}

void Engine::main() {
  ask_for_short_slices();
  const kernels::FloatDefaults defaults;  // the sampler and the loop's share of compute (rule E10)
  Status failed;
  try {
    load_and_serve();
  } catch (const std::bad_alloc&) {
    failed = Status::error(Code::kInsufficientMemory, "the system has no memory left");
  } catch (const std::system_error& error) {
    failed = Status::error(Code::kInsufficientMemory,
                           text("a thread could not be started: ", error.what()));
  } catch (const std::exception& error) {
    failed = Status::error(Code::kInternal, text("unexpected: ", error.what()));
  }
  if (!failed.ok()) {
    const std::lock_guard lock(queue_->mutex);
    queue_->fatal = failed;
    if (!opened_) opened_.emplace(failed);
  }
  wait_for_close();
  end_all();
  closed_.store(true, std::memory_order_release);
  notify_();
}

void Engine::load_and_serve() {
  auto model = std::make_unique<OpenedModel>();
  // Whatever way this function is left: nobody looks at memory that is about to go.
  struct Unpublish {
    Engine& engine;
    ~Unpublish() {
      const std::lock_guard lock(engine.queue_->mutex);
      engine.cache_counters_ = nullptr;
      engine.queue_->buffers_alive = false;
    }
  };
  const Unpublish unpublish{*this};
  const Status status =
      model->open(message_, options_, plans_.take(), events_, compare_counters_, cancelled_,
                  [this](const auto& counters) {
                    const std::lock_guard lock(queue_->mutex);
                    cache_counters_ = &counters;
                  });
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->fatal = status;
    queue_->buffers_alive = status.ok();
    opened_ = status.ok() ? Result<EngineFacts>(model->facts) : Result<EngineFacts>(status);
  }
  if (!status.ok()) return;
  notify_();
  TokenLoop loop({.queue = *queue_,
                  .model = *model,
                  .message = message_,
                  .plans = plans_,
                  .events = events_,
                  .counters = loop_counters_,
                  .cancelled = cancelled_,
                  .job_done = notify_});
  loop.run();
}

// After a failure requests end with its error until the host closes; after an ordinary run nothing is waited for.
void Engine::wait_for_close() {
  end_all();
  notify_();
  std::unique_lock lock(queue_->mutex);
  queue_->changed.wait(lock, [this] { return queue_->closing; });
}

// Ends every request and job that is still there: cancelled, or with what made the engine fatal.
void Engine::end_all() {
  for (;;) {
    std::shared_ptr<Sequence> sequence;
    std::shared_ptr<ReadJob> job;
    std::shared_ptr<ResizeJob> resize;
    Status fatal;
    {
      const std::lock_guard lock(queue_->mutex);
      fatal = queue_->fatal;
      if (!queue_->running.empty()) {
        sequence = queue_->running.back();
      } else if (!queue_->jobs.empty()) {
        job = std::move(queue_->jobs.front());
        queue_->jobs.pop_front();
      } else if (!queue_->resizes.empty()) {
        resize = std::move(queue_->resizes.front());
        queue_->resizes.pop_front();
      } else {
        return;
      }
    }
    if (sequence != nullptr) {
      const bool cancelled = fatal.ok() || fatal.code() == Code::kCancelled;
      LoopSide(*sequence).finish(cancelled ? FinishReason::kCancelled : FinishReason::kError,
                                 cancelled ? Status{} : fatal);
    } else if (job != nullptr) {
      job->status = fatal.ok() ? closed_status() : fatal;
      job->done.store(true, std::memory_order_release);
    } else {
      resize->status = fatal.ok() ? closed_status() : fatal;
      resize->done.store(true, std::memory_order_release);
    }
  }
}

std::optional<Result<EngineFacts>> Engine::opened() const {
  const std::lock_guard lock(queue_->mutex);
  return opened_;
}

Status Engine::submit_plan(std::span<const std::byte> message) {
  {
    const std::lock_guard lock(queue_->mutex);
    if (queue_->closing) return closed_status();
  }
  HYPURA_TRY_ASSIGN(OwnedPlan plan, decode_plan(message, message_));
  return plans_.submit(std::move(plan));
}

CounterRow Engine::counters() const {
  CounterRow row{};
  const auto set = [&row](CounterIndex index, uint64_t value) {
    row[static_cast<uint32_t>(index)] = static_cast<double>(value);
  };
  const std::lock_guard lock(queue_->mutex);
  if (cache_counters_ != nullptr) {
    const scheduler::CacheCounters& cache = *cache_counters_;
    set(CounterIndex::kReadBytes, cache.read_bytes);
    set(CounterIndex::kReads, cache.reads);
    set(CounterIndex::kRetries, cache.retries);
    set(CounterIndex::kHits, cache.hits);
    set(CounterIndex::kMisses, cache.misses);
    set(CounterIndex::kHitBytes, cache.hit_bytes);
    set(CounterIndex::kMissBytes, cache.miss_bytes);
    set(CounterIndex::kStallNs, cache.stall_ns);
    set(CounterIndex::kEvictions, cache.evictions);
    set(CounterIndex::kGuessed, cache.guessed);
    set(CounterIndex::kGuessedCorrectly, cache.guessed_correctly);
    set(CounterIndex::kGuessAsked, cache.guess_asked);
    set(CounterIndex::kGuessReadBytes, cache.guess_read_bytes);
    set(CounterIndex::kGuessUsedBytes, cache.guess_used_bytes);
    set(CounterIndex::kLoadBytes, cache.load_bytes);
    set(CounterIndex::kLoadBytesTotal, cache.load_bytes_total);
  }
  if (opened_ && opened_->ok()) {
    uint64_t given_back = 0;
    if (cache_counters_ != nullptr) {
      given_back = cache_counters_->given_back_bytes;
      const bool cached = message_.budget.placement == WeightPlacement::kCache;
      set(CounterIndex::kPlacedBytes, (cached ? cache_counters_->placed_bytes.load() : message_.budget.pinned_bytes) +
                                          align_up(message_.budget.kv_bytes, kDirectAlignmentBytes) +
                                          align_up(message_.budget.scratch_bytes, kDirectAlignmentBytes));
    }
    set(CounterIndex::kArenaBytes, opened_->value().arena_bytes - given_back);
    set(CounterIndex::kHugePageBytes, opened_->value().huge_page_bytes);
  }
  set(CounterIndex::kCompareBytes, compare_counters_.bytes);
  set(CounterIndex::kCompareBytesTotal, compare_counters_.bytes_total);
  set(CounterIndex::kEventsDropped, events_.dropped());
  set(CounterIndex::kSweeps, loop_counters_.sweeps);
  set(CounterIndex::kPositions, loop_counters_.positions);
  set(CounterIndex::kTokens, loop_counters_.tokens);
  set(CounterIndex::kSweepNs, loop_counters_.sweep_ns);
  set(CounterIndex::kRequests, loop_counters_.requests);
  set(CounterIndex::kPlanNumber, loop_counters_.plan_number);
  set(CounterIndex::kBudgetBytes, loop_counters_.budget_bytes);
  set(CounterIndex::kKvBytes, measure_.kv_bytes);
  set(CounterIndex::kScratchBytes, measure_.scratch_bytes);
  return row;
}

void Engine::copies(std::span<double> into) const {
  std::fill(into.begin(), into.end(), 0.0);
  const std::lock_guard lock(queue_->mutex);
  if (cache_counters_ == nullptr) return;
  for (uint32_t copy = 0; copy < copy_count(); ++copy) {
    const scheduler::CopyCounters& counters = cache_counters_->copies[copy];
    const auto set = [&](CopyIndex index, auto value) {
      into[copy * kCopyIndexCount + static_cast<uint32_t>(index)] = static_cast<double>(value);
    };
    set(CopyIndex::kReadBytes, counters.read_bytes.load(std::memory_order_relaxed));
    set(CopyIndex::kFailures, counters.failures.load(std::memory_order_relaxed));
    set(CopyIndex::kState, static_cast<uint32_t>(counters.state.load(std::memory_order_relaxed)));
    set(CopyIndex::kErrno, counters.errno_value.load(std::memory_order_relaxed));
    set(CopyIndex::kFile, counters.file.load(std::memory_order_relaxed));
    set(CopyIndex::kOffset, counters.offset_bytes.load(std::memory_order_relaxed));
  }
}

Result<std::shared_ptr<ReadJob>> Engine::read_blocks(std::span<const uint32_t> blocks,
                                                     uint64_t room_bytes) {
  auto job = std::make_shared<ReadJob>();
  for (uint32_t id : blocks) {
    if (id >= message_.table.size())
      return Status::error(Code::kInvalidArgument,
                           text("block ", id, " of ", message_.table.size(), " was asked for"));
    job->blocks.push_back(BlockId{id});
  }
  const uint64_t bytes = job_bytes(message_.table, job->blocks);
  if (bytes > room_bytes)
    return Status::error(Code::kInvalidArgument,
                         text("the blocks have ", bytes, " bytes, there is room for ", room_bytes));
  if (bytes > kJobBytesMax)
    return Status::error(Code::kInvalidArgument,
                         text(bytes, " bytes in one call, at most ", kJobBytesMax));
  try {
    job->bytes.resize(bytes);
  } catch (const std::bad_alloc&) {
    return Status::error(Code::kInsufficientMemory,
                         text("no memory for ", bytes, " bytes of blocks"));
  }
  {
    const std::lock_guard lock(queue_->mutex);
    if (queue_->closing) return closed_status();
    if (!queue_->fatal.ok()) return queue_->fatal;
    queue_->jobs.push_back(job);
  }
  queue_->changed.notify_all();
  return job;
}

Result<std::shared_ptr<ResizeJob>> Engine::resize(uint64_t budget_bytes,
                                                  const scheduler::CacheDivision& division) {
  auto job = std::make_shared<ResizeJob>();
  job->budget_bytes = budget_bytes;
  job->division = division;
  {
    const std::lock_guard lock(queue_->mutex);
    if (queue_->closing) return closed_status();
    if (!queue_->fatal.ok()) return queue_->fatal;
    queue_->resizes.push_back(job);
  }
  queue_->changed.notify_all();
  return job;
}

Result<std::shared_ptr<Sequence>> Engine::create_sequence(std::function<void()> wake, uint32_t client) {
  const std::lock_guard lock(queue_->mutex);
  if (queue_->closing) return closed_status();
  for (uint32_t slot = 0; slot < queue_->slot_taken.size(); ++slot) {
    if (queue_->slot_taken[slot]) continue;
    queue_->slot_taken[slot] = true;
    const Sequence::Limits limits{.n_ctx = message_.budget.n_ctx,
                                  .n_vocab = message_.spec.n_vocab,
                                  .logits_rows = message_.budget.logits_rows};
    const Sequence::Label label{.number = ++queue_->sequences, .client = client};
    return std::make_shared<Sequence>(queue_, slot, label, limits, std::move(wake));
  }
  return Status::error(
      Code::kInvalidArgument,
      text("all ", queue_->slot_taken.size(),
           " sequences the engine was loaded for are in use: close one, or load with more"));
}

void Engine::close() {
  cancelled_ = true;
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->closing = true;
    for (const auto& sequence : queue_->running) LoopSide(*sequence).ask_to_stop();
  }
  queue_->changed.notify_all();
}

}  // namespace hypura::runtime
