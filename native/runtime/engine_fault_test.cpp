// What could break: a fault of the drive changes a token, hangs, or leaves an engine that cannot go on. How we notice: a
// fault at one read after the other, once and for ever, must end in the tokens of an engine without faults or in a typed
// error, and the engine must give the reference again once the drive is well.
#include <fstream>

#include "native/runtime/testing_engine.h"

namespace hypura::runtime {
namespace {

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

}  // namespace
}  // namespace hypura::runtime
