// What could break: a wait that no cancel, close or reader ends, a lost wake, a slot of a sequence that is not given back or
// still looked at by who had it before. How we notice: sequences are stopped in each of their waits, every wait has a
// deadline that fails the test, and a request afterwards must give the reference again.
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "native/runtime/testing_engine.h"

namespace hypura::runtime {
namespace {

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

// What was not drained is gone with the slot: its memory belongs to the next sequence.
TEST(a_closed_sequence_does_not_see_the_tokens_of_the_next_one) {
  TestEngine engine(tiny_dense(), {.n_sequences = 1});
  EXPECT_OK(engine.open());
  TestSequence closed(*engine);
  EXPECT_OK(closed->start(request(kPrompt, 4)));
  EXPECT(closed.reaches(Phase::kDone));
  closed->close();
  EXPECT(closed->closed());

  TestSequence next(*engine);
  EXPECT_EQ(next.run(request(5, 4)).tokens.size(), size_t{4});
  Outcome late;
  closed.drain(late);
  EXPECT(late.tokens.empty());
}

#if defined(__linux__)
// What the host's handler would interrupt: every thread but the one that runs the tests.
TEST(threads_of_an_engine_take_no_signals) {
  TestEngine engine(tiny_dense(), {.threads = 3});
  EXPECT_OK(engine.open());
  uint32_t threads = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    std::string word;
    while (status >> word && word != "SigBlk:") {
    }
    uint64_t blocked = 0;
    status >> std::hex >> blocked;
    if (task.path().filename() == std::to_string(::getpid())) continue;
    ++threads;
    EXPECT((blocked >> (SIGTERM - 1) & 1) == 1);
  }
  EXPECT(threads >= 4);  // the loop, two that compute, the one that reads
}
#endif

}  // namespace
}  // namespace hypura::runtime
