// What could break: the loop hands the decoder a batch that depends on how it was cut, mixes up sequences, or miscounts.
// How we notice: a resident engine with one thread and one chunk is the second implementation, compared bit for bit with
// every other way to run; blocks, events and counters are compared with what the test knows of the model.
#include <numeric>

#include "native/runtime/testing_engine.h"

namespace hypura::runtime {
namespace {

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
  TestSequence sequence(*engine, 7);
  sequence.run(request(kPrompt, kTokens));
  const CounterRow counters = engine->counters();
  const auto counter = [&](CounterIndex index) { return counters[static_cast<size_t>(index)]; };
  EXPECT_EQ(counter(CounterIndex::kTokens), double{kTokens});
  EXPECT_EQ(counter(CounterIndex::kPositions), double{kPrompt + kTokens - 1});
  EXPECT_EQ(counter(CounterIndex::kSweeps), double{kTokens});
  EXPECT_EQ(counter(CounterIndex::kRequests), 1.0);
  EXPECT(counter(CounterIndex::kReadBytes) > 0);
  EXPECT(counter(CounterIndex::kLoadBytes) == counter(CounterIndex::kLoadBytesTotal));
  uint32_t tokens = 0, routes = 0, next_position = 0;
  std::vector<scheduler::Event> events(100);
  while (const uint32_t n = engine->drain_events(events))
    for (uint32_t i = 0; i < n; ++i) {
      tokens += events[i].kind == scheduler::EventKind::kToken;
      routes += events[i].kind == scheduler::EventKind::kRoute;
      if (events[i].kind != scheduler::EventKind::kSweep) continue;
      EXPECT_EQ(events[i].words[0], 1u);
      EXPECT_EQ(events[i].words[1], 7u);
      EXPECT_EQ(events[i].words[2], next_position);
      next_position += events[i].words[3];
    }
  EXPECT_EQ(next_position, kPrompt + kTokens - 1);
  EXPECT_EQ(tokens, kTokens);
  // Two mixture layers; one record for the choice or union of up to 8 experts.
  EXPECT_EQ(routes, 2 * kTokens);
}

}  // namespace
}  // namespace hypura::runtime
