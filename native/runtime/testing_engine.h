// A running engine and its sequences, waited for with deadlines: for tests of the engine as its host sees it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "native/runtime/engine.h"
#include "native/runtime/testing_load.h"

namespace hypura::runtime {

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
  // mirrors: copies of the file, each on a drive of its own; verified: taken as compared already.
  TestEngine(const TinyModel& model, const LoadParameters& parameters, EngineOptions options = {},
             uint32_t mirrors = 0, bool verified = false)
      : file_(model.file) {
    options.threads = parameters.threads;
    std::vector<std::string> paths;
    for (uint32_t i = 0; i < mirrors; ++i)
      paths.push_back(mirrors_.emplace_back(std::make_unique<TemporaryModelFile>(model.file))->path());
    Result<std::unique_ptr<Engine>> created = Engine::create(
        LoadWriter(model, parameters, file_.path()).mirrors(paths, verified).write(), options,
        wakes_.callback());
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
  const std::string& mirror(uint32_t i) const { return mirrors_[i]->path(); }
  double copy(uint32_t copy, CopyIndex index) const {
    std::vector<double> rows(engine_->copy_count() * kCopyIndexCount);
    engine_->copies(rows);
    return rows[copy * kCopyIndexCount + static_cast<uint32_t>(index)];
  }
  Wakes& wakes() { return wakes_; }

 private:
  TemporaryModelFile file_;
  std::vector<std::unique_ptr<TemporaryModelFile>> mirrors_;
  Wakes wakes_;
  std::unique_ptr<Engine> engine_;
};

class TestSequence {
 public:
  explicit TestSequence(Engine& engine, uint32_t client = 0) {
    Result<std::shared_ptr<Sequence>> created = engine.create_sequence(wakes_.callback(), client);
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

inline std::vector<uint32_t> prompt(uint32_t n, uint32_t n_vocab) {
  std::vector<uint32_t> tokens(n);
  for (uint32_t i = 0; i < n; ++i) tokens[i] = (i * 37 + 11) % n_vocab;
  return tokens;
}

inline Request request(uint32_t n_prompt, uint32_t max_tokens, LogitsWanted logits = LogitsWanted::kNone) {
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

inline bool same(const std::vector<TokenRecord>& a, const std::vector<TokenRecord>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(TokenRecord)) == 0);
}
inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
inline int number(FinishReason reason) { return static_cast<int>(reason); }
inline int number(Code code) { return static_cast<int>(code); }

// Of the reference.
inline constexpr uint32_t kPrompt = 23;
inline constexpr uint32_t kTokens = 9;

// What every other way to run is compared with: all in memory, one thread, one chunk.
inline Outcome reference(const TinyModel& model) {
  TestEngine engine(model, {.batch_positions = 64, .logits_rows = 64, .threads = 1});
  EXPECT_OK(engine.open());
  return TestSequence(*engine).run(request(kPrompt, kTokens, LogitsWanted::kAll));
}

}  // namespace hypura::runtime
