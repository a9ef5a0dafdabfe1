// What could break: the loop hands the decoder a batch that depends on how it was cut, loses a wake, overruns a ring, or does
// not come back from a cancel, a fault or a close. How we notice: a resident engine with one thread and one chunk is the
// second implementation, compared bit for bit with every other way to run; faults and cancels are followed by a request
// that must give the reference again; every wait has a deadline that fails the test.
#include "native/runtime/engine.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>

#include "native/runtime/testing_load.h"

namespace hypura::runtime {
namespace {

using namespace std::chrono_literals;
using model::TinyModel;

// Wakes of one engine or sequence, counted.
class Wakes {
 public:
  std::function<void()> callback() {
    return [this] {
      const std::lock_guard lock(mutex_);
      ++count_;
      changed_.notify_all();
    };
  }
  // Calls check() after every wake until it is true; false after ten seconds.
  template <typename Check>
  bool wait(Check check) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    std::unique_lock lock(mutex_);
    for (;;) {
      const uint64_t seen = count_;
      lock.unlock();
      if (check()) return true;
      lock.lock();
      if (!changed_.wait_until(lock, deadline, [&] { return count_ != seen; })) return false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t count_ = 0;
};

struct Outcome {
  std::vector<TokenRecord> tokens;
  std::vector<float> logits;
  SequenceState state;
};

class TestEngine {
 public:
  TestEngine(const TinyModel& model, const LoadParameters& parameters, EngineOptions options = {})
      : file_(model.file) {
    options.threads = parameters.threads;
    Result<std::unique_ptr<Engine>> created = Engine::create(
        LoadWriter(model, parameters, file_.path()).write(), options, wakes_.callback());
    if (!created.ok()) {
      testing::fail(__FILE__, __LINE__, "create: " + created.status().message());
      return;
    }
    engine_ = std::move(created).value();
  }
  Status open() {
    if (!wakes_.wait([&] { return engine_->opened().has_value(); }))
      testing::fail(__FILE__, __LINE__, "opening hangs");
    return engine_->opened()->status();
  }
  Engine& operator*() { return *engine_; }
  Engine* operator->() { return engine_.get(); }
  bool closes() {
    engine_->close();
    return wakes_.wait([&] { return engine_->closed(); });
  }
  const std::string& path() const { return file_.path(); }
  Wakes& wakes() { return wakes_; }

 private:
  TemporaryModelFile file_;
  Wakes wakes_;
  std::unique_ptr<Engine> engine_;
};

class TestSequence {
 public:
  explicit TestSequence(Engine& engine) {
    Result<std::shared_ptr<Sequence>> created = engine.create_sequence(wakes_.callback());
    if (!created.ok())
      testing::fail(__FILE__, __LINE__, "create_sequence: " + created.status().message());
    else
      sequence_ = std::move(created).value();
  }
  Sequence& operator*() { return *sequence_; }
  Sequence* operator->() { return sequence_.get(); }

  // Everything that can be drained, into `outcome`.
  void drain(Outcome& outcome) {
    sequence_->acknowledge_wake();
    TokenRecord records[3];  // small, so that draining takes several calls
    while (const uint32_t n = sequence_->drain_tokens(records))
      outcome.tokens.insert(outcome.tokens.end(), records, records + n);
    std::vector<float> rows(2 * sequence_->n_vocab());
    while (const uint32_t n = sequence_->drain_logits(rows))
      outcome.logits.insert(outcome.logits.end(), rows.begin(),
                            rows.begin() + n * sequence_->n_vocab());
  }
  // To the end of the request that runs, draining all the time.
  Outcome finish() {
    Outcome outcome;
    const bool ended = wakes_.wait([&] {
      const bool done = sequence_->state().phase == Phase::kDone;
      drain(outcome);
      return done;
    });
    if (!ended) testing::fail(__FILE__, __LINE__, "a request hangs");
    outcome.state = sequence_->state();
    return outcome;
  }
  Outcome run(Request request) {
    if (const Status status = sequence_->start(std::move(request)); !status.ok()) {
      testing::fail(__FILE__, __LINE__, "start: " + status.message());
      return {};
    }
    return finish();
  }
  bool reaches(Phase phase) {
    return wakes_.wait([&] {
      sequence_->acknowledge_wake();
      return sequence_->state().phase == phase;
    });
  }

 private:
  Wakes wakes_;
  std::shared_ptr<Sequence> sequence_;
};

std::vector<uint32_t> prompt(uint32_t n, uint32_t n_vocab) {
  std::vector<uint32_t> tokens(n);
  for (uint32_t i = 0; i < n; ++i) tokens[i] = (i * 37 + 11) % n_vocab;
  return tokens;
}

Request request(uint32_t n_prompt, uint32_t max_tokens, LogitsWanted logits = LogitsWanted::kNone) {
  return {.tokens = prompt(n_prompt, model::tiny_spec().n_vocab),
          .max_tokens = max_tokens,
          .stop_tokens = {},
          .sampling = {.temperature = 0.8f,
                       .top_k = 40,
                       .top_p = 0.95f,
                       .repeat_penalty = 1.1f,
                       .repeat_last_n = 16,
                       .seed = 7},
          .logits = logits,
          .pending_tokens_max = 8};
}

bool same(const std::vector<TokenRecord>& a, const std::vector<TokenRecord>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(TokenRecord)) == 0);
}
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
int number(FinishReason reason) { return static_cast<int>(reason); }
int number(Code code) { return static_cast<int>(code); }

constexpr uint32_t kPrompt = 23;
constexpr uint32_t kTokens = 9;

Outcome reference(const TinyModel& model) {
  TestEngine engine(model, {.batch_positions = 64, .logits_rows = 64, .threads = 1});
  EXPECT_OK(engine.open());
  return TestSequence(*engine).run(request(kPrompt, kTokens, LogitsWanted::kAll));
}

TEST(engine_gives_the_same_bits_however_it_runs) {
  for (const TinyModel& model : {tiny_dense(), tiny_mixture()}) {
    const Outcome expected = reference(model);
    EXPECT_EQ(expected.tokens.size(), size_t{kTokens});
    EXPECT_EQ(expected.logits.size(), size_t{kPrompt + kTokens - 1} * model.spec().n_vocab);
    for (const bool resident : {true, false})
      for (const uint32_t threads : {1u, 2u})
        for (const uint32_t chunk : {1u, 3u, 7u}) {
          TestEngine engine(model, {.resident = resident,
                                    .batch_positions = chunk,
                                    .logits_rows = 2,
                                    .threads = threads});
          EXPECT_OK(engine.open());
          TestSequence sequence(*engine);
          const Outcome outcome = sequence.run(request(kPrompt, kTokens, LogitsWanted::kAll));
          EXPECT(same(outcome.tokens, expected.tokens));
          EXPECT(same(outcome.logits, expected.logits));
          EXPECT_EQ(number(outcome.state.finish_reason), number(FinishReason::kLength));
          EXPECT_EQ(outcome.state.length, kPrompt + kTokens - 1);
        }
  }
}

TEST(text_is_the_same_when_a_request_is_continued_or_cut_back) {
  const TinyModel model = tiny_dense();
  const Outcome expected = reference(model);
  TestEngine engine(model, {});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  Outcome outcome = sequence.run(request(kPrompt, 4));
  EXPECT_EQ(outcome.state.length, kPrompt + 3);
  Request rest = request(1, kTokens - 4);
  rest.tokens = {outcome.tokens.back().token};  // sampled, but not evaluated yet
  const Outcome tail = sequence.run(rest);
  outcome.tokens.insert(outcome.tokens.end(), tail.tokens.begin(), tail.tokens.end());
  EXPECT(same(outcome.tokens, expected.tokens));

  EXPECT_OK(sequence->truncate(kPrompt - 1));
  Request again = request(kPrompt, kTokens);
  again.tokens = {again.tokens.back()};
  EXPECT(same(sequence.run(again).tokens, expected.tokens));
  EXPECT_EQ(number(sequence->truncate(1000).code()), number(Code::kInvalidArgument));
}

TEST(sequences_take_turns_and_do_not_mix) {
  const TinyModel model = tiny_mixture();
  const Outcome expected = reference(model);
  TestEngine engine(model, {.resident = false, .batch_positions = 5});
  EXPECT_OK(engine.open());
  TestSequence first(*engine), second(*engine);
  EXPECT_OK(first->start(request(kPrompt, kTokens)));
  EXPECT_OK(second->start(request(kPrompt, kTokens)));
  EXPECT(same(first.finish().tokens, expected.tokens));
  EXPECT(same(second.finish().tokens, expected.tokens));
  Wakes wakes;
  EXPECT_EQ(number(engine->create_sequence(wakes.callback()).status().code()),
            number(Code::kInvalidArgument));
  first->close();
  EXPECT(first->closed());
  TestSequence third(*engine);
  EXPECT(same(third.run(request(kPrompt, kTokens)).tokens, expected.tokens));
}

TEST(a_reader_that_is_slow_pauses_the_sequence) {
  const TinyModel model = tiny_dense();
  const Outcome expected = reference(model);
  TestEngine engine(model, {});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  Request slow = request(kPrompt, kTokens);
  slow.pending_tokens_max = 2;
  EXPECT_OK(sequence->start(slow));
  EXPECT(sequence.reaches(Phase::kPaused));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(engine->counters()[static_cast<size_t>(CounterIndex::kTokens)], 2.0);
  EXPECT(same(sequence.finish().tokens, expected.tokens));
}

TEST(rows_of_logits_wait_for_their_reader) {
  TestEngine engine(tiny_dense(), {.batch_positions = 16, .logits_rows = 2});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  EXPECT_OK(sequence->start(request(kPrompt, 0, LogitsWanted::kAll)));
  EXPECT(sequence.reaches(Phase::kPaused));
  const Outcome outcome = sequence.finish();
  EXPECT_EQ(outcome.logits.size(), size_t{kPrompt} * model::tiny_spec().n_vocab);
  EXPECT_EQ(number(outcome.state.finish_reason), number(FinishReason::kLength));

  EXPECT_OK(sequence->start(request(kPrompt, 0, LogitsWanted::kAll)));
  EXPECT(sequence.reaches(Phase::kPaused));
  sequence->cancel();
  EXPECT_EQ(number(sequence.finish().state.finish_reason), number(FinishReason::kCancelled));
}

TEST(a_cancelled_prompt_leaves_a_usable_engine) {
  const TinyModel model = tiny_mixture();
  const Outcome expected = reference(model);
  TestEngine engine(model, {.resident = false, .batch_positions = 2});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  for (const auto delay : {0ms, 1ms, 3ms, 7ms}) {
    EXPECT_OK(sequence->truncate(0));
    EXPECT_OK(sequence->start(request(300, 5)));
    std::this_thread::sleep_for(delay);
    sequence->cancel();
    const Outcome outcome = sequence.finish();
    EXPECT_EQ(number(outcome.state.finish_reason), number(FinishReason::kCancelled));
    EXPECT(outcome.state.error.ok());
    EXPECT(outcome.state.length < 300);
  }
  EXPECT_OK(sequence->truncate(0));
  EXPECT(same(sequence.run(request(kPrompt, kTokens)).tokens, expected.tokens));
}

TEST(requests_end_at_stop_tokens_and_at_the_end_of_the_context) {
  const TinyModel model = tiny_dense();
  const Outcome expected = reference(model);
  TestEngine engine(model, {.n_ctx = 256});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  Request stops = request(kPrompt, 100);
  stops.stop_tokens = {expected.tokens[3].token};
  const Outcome stopped = sequence.run(stops);
  EXPECT_EQ(number(stopped.state.finish_reason), number(FinishReason::kStopToken));
  EXPECT_EQ(stopped.tokens.back().flags, kTokenFlagStop);
  EXPECT(stopped.tokens.size() <= 4);

  EXPECT_OK(sequence->truncate(0));
  EXPECT_EQ(number(sequence->start(request(257, 1)).code()), number(Code::kContextOverflow));
  const Outcome full = sequence.run(request(254, 100));
  EXPECT_EQ(number(full.state.finish_reason), number(FinishReason::kContextFull));
  EXPECT_EQ(full.state.length, 256u);
  EXPECT_EQ(full.tokens.size(), size_t{3});
  EXPECT_EQ(full.tokens.back().position, 256u);
}

TEST(wrong_requests_are_refused_with_a_reason) {
  TestEngine engine(tiny_dense(), {});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  const auto refused = [&](auto change) {
    Request bad = request(3, 3);
    change(bad);
    return number(sequence->start(bad).code());
  };
  EXPECT_EQ(refused([](Request& r) { r.tokens.clear(); }), number(Code::kInvalidArgument));
  EXPECT_EQ(refused([](Request& r) { r.tokens[1] = model::tiny_spec().n_vocab; }),
            number(Code::kInvalidArgument));
  EXPECT_EQ(refused([](Request& r) { r.pending_tokens_max = 0; }), number(Code::kInvalidArgument));
  EXPECT_EQ(refused([](Request& r) { r.pending_tokens_max = 5000; }),
            number(Code::kInvalidArgument));
  EXPECT_EQ(refused([](Request& r) { r.sampling.top_p = 0; }), number(Code::kInvalidArgument));
  EXPECT_OK(sequence->start(request(200, 1)));
  EXPECT_EQ(number(sequence->start(request(1, 1)).code()), number(Code::kBusy));
  EXPECT_EQ(number(sequence->truncate(0).code()), number(Code::kBusy));
  sequence.finish();
  sequence->close();
  EXPECT_EQ(number(sequence->start(request(1, 1)).code()), number(Code::kClosed));
}

TEST(a_fault_once_changes_nothing_and_for_ever_is_a_typed_error) {
  const TinyModel model = tiny_dense();
  const Outcome expected = reference(model);
  const LoadParameters streamed{.resident = false, .batch_positions = 7};
  {
    TestEngine engine(model, streamed, {.faults = "eio:every=9:forever:5"});
    const Status opened = engine.open();
    if (opened.ok()) {
      TestSequence sequence(*engine);
      EXPECT(same(sequence.run(request(kPrompt, kTokens)).tokens, expected.tokens));
      EXPECT(engine->counters()[static_cast<size_t>(CounterIndex::kRetries)] > 0);
    } else {
      EXPECT_EQ(number(opened.code()), number(Code::kIo));
    }
  }
  for (uint32_t read = 0; read < 120; read += 13) {
    TestEngine engine(model, streamed, {.faults = "eio:at=" + std::to_string(read) + ":forever"});
    const Status opened = engine.open();
    if (!opened.ok()) {
      EXPECT_EQ(number(opened.code()), number(Code::kIo));
      continue;
    }
    TestSequence sequence(*engine);
    const Outcome outcome = sequence.run(request(kPrompt, kTokens));
    if (outcome.state.finish_reason == FinishReason::kError)
      EXPECT_EQ(number(outcome.state.error.code()), number(Code::kIo));
    else
      EXPECT(same(outcome.tokens, expected.tokens));
  }
}

TEST(an_engine_works_again_after_reads_failed) {
  const TinyModel model = tiny_dense();
  const Outcome expected = reference(model);
  // An outage: a run of consecutive reads fails, retries included, and then the drive is well again.
  std::string outage;
  for (uint32_t read = 60; read < 160; ++read)
    outage += (outage.empty() ? "eio:after=" : ";eio:after=") + std::to_string(read) + ":once";
  TestEngine engine(model, {.resident = false, .batch_positions = 32}, {.faults = outage});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  uint32_t died = 0, lived = 0;
  for (int round = 0; round < 40 && lived == 0; ++round) {
    EXPECT_OK(sequence->truncate(0));
    const Outcome outcome = sequence.run(request(kPrompt, kTokens));
    if (outcome.state.finish_reason == FinishReason::kError) {
      ++died;
      EXPECT_EQ(number(outcome.state.error.code()), number(Code::kIo));
    } else {
      ++lived;
      EXPECT(same(outcome.tokens, expected.tokens));
    }
  }
  EXPECT(died > 0);
  EXPECT_EQ(lived, 1u);
}

TEST(closing_ends_whatever_runs) {
  const TinyModel model = tiny_mixture();
  for (const auto delay : {0us, 300us, 2000us, 20000us}) {  // while loading, and in mid-prompt
    TestEngine engine(model, {.resident = false, .batch_positions = 1});
    TestSequence sequence(*engine);
    EXPECT_OK(sequence->start(request(400, 5)));
    std::this_thread::sleep_for(delay);
    EXPECT(engine.closes());
    EXPECT_EQ(number(sequence.finish().state.finish_reason), number(FinishReason::kCancelled));
    EXPECT_EQ(number(sequence->start(request(1, 1)).code()), number(Code::kClosed));
    EXPECT_EQ(number(engine->submit_plan({}).code()), number(Code::kClosed));
    sequence->close();
    EXPECT(sequence->closed());
  }
}

TEST(closing_ends_a_paused_sequence_and_one_that_waits_for_logits) {
  TestEngine engine(tiny_dense(), {.logits_rows = 1});
  EXPECT_OK(engine.open());
  TestSequence tokens(*engine), rows(*engine);
  Request slow = request(3, 100);
  slow.pending_tokens_max = 1;
  EXPECT_OK(tokens->start(slow));
  EXPECT(tokens.reaches(Phase::kPaused));
  EXPECT_OK(rows->start(request(9, 0, LogitsWanted::kAll)));
  EXPECT(rows.reaches(Phase::kPaused));
  EXPECT(engine.closes());
  EXPECT_EQ(number(tokens.finish().state.finish_reason), number(FinishReason::kCancelled));
  EXPECT_EQ(number(rows.finish().state.finish_reason), number(FinishReason::kCancelled));
}

TEST(a_sequence_closed_in_mid_request_gives_its_slot_back) {
  TestEngine engine(tiny_dense(), {.n_sequences = 1, .batch_positions = 1});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  EXPECT_OK(sequence->start(request(300, 5)));
  sequence->close();
  sequence.finish();
  EXPECT(sequence->closed());
  EXPECT(TestSequence(*engine).run(request(3, 3)).tokens.size() == 3);
}

TEST(a_file_that_is_missing_or_changed_is_a_typed_error) {
  const TinyModel model = tiny_dense();
  {
    Wakes wakes;
    std::vector<std::byte> message = LoadWriter(model, {}, "/nonexistent/model.gguf").write();
    auto engine = Engine::create(message, {.threads = 2, .faults = ""}, wakes.callback());
    ASSERT(engine.ok());
    TestSequence early(*engine.value());  // made before the failure is known
    const Status started = early->start(request(1, 1));
    EXPECT(wakes.wait([&] { return engine.value()->opened().has_value(); }));
    EXPECT_EQ(number(engine.value()->opened()->status().code()), number(Code::kIo));
    if (started.ok())
      EXPECT_EQ(number(early.finish().state.finish_reason), number(FinishReason::kError));
    EXPECT_EQ(number(early->start(request(1, 1)).code()), number(Code::kIo));
  }
  TestEngine engine(model, {});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  EXPECT_EQ(sequence.run(request(3, 1)).tokens.size(), size_t{1});
  std::ofstream(engine.path(), std::ios::binary | std::ios::app) << "more";
  const Outcome outcome = sequence.run(request(3, 1));
  EXPECT_EQ(number(outcome.state.error.code()), number(Code::kModelChanged));
}

TEST(blocks_are_read_as_they_lie_in_the_file) {
  const TinyModel model = tiny_mixture();
  TestEngine engine(model, {});
  EXPECT_OK(engine.open());
  std::vector<uint32_t> ids(model.blocks.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto job = engine->read_blocks(ids, 1 << 30);
  ASSERT(job.ok());
  EXPECT(engine.wakes().wait([&] { return job.value()->done.load(); }));
  EXPECT_OK(job.value()->status);
  std::vector<std::byte> expected;
  for (const scheduler::Block& block : model.blocks)
    for (uint32_t i = 0; i < block.n_extents; ++i) {
      const scheduler::Extent& extent = model.extents[block.first_extent + i];
      const auto begin = model.file.begin() + static_cast<std::ptrdiff_t>(extent.offset_bytes);
      expected.insert(expected.end(), begin,
                      begin + static_cast<std::ptrdiff_t>(extent.size_bytes));
    }
  EXPECT(job.value()->bytes == expected);
  EXPECT_EQ(number(engine->read_blocks(ids, 5).status().code()), number(Code::kInvalidArgument));
  ids[0] = 1 << 20;
  EXPECT_EQ(number(engine->read_blocks(ids, 1 << 30).status().code()),
            number(Code::kInvalidArgument));
}

TEST(events_and_counters_tell_what_happened) {
  TestEngine engine(tiny_mixture(), {.resident = false});
  EXPECT_OK(engine.open());
  TestSequence sequence(*engine);
  sequence.run(request(kPrompt, kTokens));
  const CounterRow counters = engine->counters();
  const auto counter = [&](CounterIndex index) { return counters[static_cast<size_t>(index)]; };
  EXPECT_EQ(counter(CounterIndex::kTokens), double{kTokens});
  EXPECT_EQ(counter(CounterIndex::kPositions), double{kPrompt + kTokens - 1});
  EXPECT_EQ(counter(CounterIndex::kSweeps), double{kTokens});
  EXPECT_EQ(counter(CounterIndex::kRequests), 1.0);
  EXPECT(counter(CounterIndex::kReadBytes) > 0);
  EXPECT(counter(CounterIndex::kLoadBytes) == counter(CounterIndex::kLoadBytesTotal));
  uint32_t tokens = 0, routes = 0;
  std::vector<scheduler::Event> events(100);
  while (const uint32_t n = engine->drain_events(events))
    for (uint32_t i = 0; i < n; ++i) {
      tokens += events[i].kind == scheduler::EventKind::kToken;
      routes += events[i].kind == scheduler::EventKind::kRoute;
    }
  EXPECT_EQ(tokens, kTokens);
  // Two mixture layers; one record for the choice or union of up to 8 experts.
  EXPECT_EQ(routes, 2 * kTokens);
}

}  // namespace
}  // namespace hypura::runtime
