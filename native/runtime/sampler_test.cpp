// What could break: a filter keeps one candidate too many, ties fall differently on another machine, penalties count wrong,
// or a draw depends on how candidates were ordered in memory. How we notice: a second sampler, written naively over a full
// sort in double precision, is the specification; frequencies of draws are compared with probabilities.
#include "native/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "native/base/hot_path_guard.h"
#include "native/base/testing.h"

namespace hypura::runtime {
namespace {

class TestSampler {
 public:
  explicit TestSampler(uint32_t n_vocab)
      : memory_(bytes(n_vocab) + 64),
        carver_(aligned()),
        sampler_(n_vocab, kernels::runnable_kernel_sets()[0], carver_) {}

  Result<Choice> choose(std::span<const float> logits, const Sampling& sampling,
                        std::span<const uint32_t> history, uint32_t position) {
    std::copy(logits.begin(), logits.end(), sampler_.row().begin());
    const HotPathGuard guard;
    return sampler_.choose(sampling, history, position);
  }

 private:
  static uint64_t bytes(uint32_t n_vocab) {
    Carver counter;
    Sampler(n_vocab, nullptr, counter);
    return counter.used_bytes();
  }
  std::byte* aligned() {
    return memory_.data() + (64 - reinterpret_cast<uintptr_t>(memory_.data()) % 64) % 64;
  }
  std::vector<std::byte> memory_;
  Carver carver_;
  Sampler sampler_;
};

// The specification: which tokens may be drawn, and with which probability. Sorted, best first.
std::vector<std::pair<uint32_t, double>> candidates(std::vector<double> logits, const Sampling& s,
                                                    std::span<const uint32_t> history) {
  if (s.repeat_last_n != 0) {
    const size_t window =
        s.repeat_last_n < 0 ? history.size() : std::min<size_t>(history.size(), s.repeat_last_n);
    std::map<uint32_t, int> uses;
    for (uint32_t token : history.last(window)) ++uses[token];
    for (const auto& [token, n] : uses) {
      double& x = logits[token];
      x = x > 0 ? x / s.repeat_penalty : x * s.repeat_penalty;
      x -= n * static_cast<double>(s.frequency_penalty) + s.presence_penalty;
    }
  }
  std::vector<uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
  if (s.temperature == 0) return {{order[0], 1}};
  if (s.top_k > 0 && s.top_k < order.size()) order.resize(s.top_k);
  if (s.top_p < 1) {
    double total = 0, covered = 0;
    for (uint32_t id : order) total += std::exp(logits[id] - logits[order[0]]);
    size_t kept = 0;
    while (kept < order.size() && (kept == 0 || covered < s.top_p * total))
      covered += std::exp(logits[order[kept++]] - logits[order[0]]);
    order.resize(kept);
  }
  if (s.min_p > 0)
    while (order.size() > 1 && logits[order.back()] < logits[order[0]] + std::log(s.min_p))
      order.pop_back();
  std::vector<std::pair<uint32_t, double>> out;
  double total = 0;
  for (uint32_t id : order) total += std::exp((logits[id] - logits[order[0]]) / s.temperature);
  for (uint32_t id : order)
    out.push_back({id, std::exp((logits[id] - logits[order[0]]) / s.temperature) / total});
  return out;
}

std::vector<float> random_logits(uint32_t n, std::mt19937& random) {
  std::vector<float> logits(n);
  // Quarters: ties are common, and rounding cannot move a candidate over a border by itself.
  for (float& x : logits) x = static_cast<float>(static_cast<int>(random() % 64)) / 4 - 8;
  return logits;
}

TEST(sampler_draws_what_the_naive_one_draws) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const uint32_t n = 1 + random() % 400;
    const std::vector<float> logits = random_logits(n, random);
    const Sampling sampling{
        .temperature = random() % 5 == 0 ? 0.0f : 0.25f * static_cast<float>(1 + random() % 8),
        .top_k = random() % 3 == 0 ? 0u : static_cast<uint32_t>(1 + random() % 200),
        .top_p = random() % 2 ? 1.0f : 0.37f + 0.05f * static_cast<float>(random() % 12),
        .min_p = random() % 2 ? 0.0f : 0.013f * static_cast<float>(1 + random() % 20),
        .repeat_penalty = random() % 2 ? 1.0f : 2.0f,
        .repeat_last_n = static_cast<int32_t>(random() % 9) - 1,
        .frequency_penalty = random() % 2 ? 0.0f : 0.5f,
        .presence_penalty = random() % 2 ? 0.0f : 0.25f,
        .seed = static_cast<uint32_t>(random())};
    std::vector<uint32_t> history(random() % 12);
    for (uint32_t& token : history) token = random() % n;
    const uint32_t position = random() % 1000;

    TestSampler sampler(n);
    const Result<Choice> choice = sampler.choose(logits, sampling, history, position);
    ASSERT(choice.ok());
    const auto allowed = candidates({logits.begin(), logits.end()}, sampling, history);
    double passed = 0;
    uint32_t expected = allowed.back().first;
    double margin = 1;
    const double target = uniform_at(sampling.seed, position);
    for (const auto& [id, probability] : allowed) {
      passed += probability;
      margin = std::min(margin, std::abs(passed - target));
      if (passed > target) {
        expected = id;
        break;
      }
    }
    if (margin > 1e-5) EXPECT_EQ(choice.value().token, expected);
    EXPECT_EQ(sampler.choose(logits, sampling, history, position).value().token,
              choice.value().token);
  }
}

TEST(sampler_reports_the_probability_before_truncation) {
  std::mt19937 random(5);
  const std::vector<float> logits = random_logits(300, random);
  TestSampler sampler(300);
  for (uint32_t position = 0; position < 50; ++position) {
    const Sampling sampling{.temperature = 1.5f, .top_k = 20, .top_p = 0.9f, .seed = 11};
    const Choice choice = sampler.choose(logits, sampling, {}, position).value();
    double total = 0;
    for (float x : logits) total += std::exp(static_cast<double>(x));
    EXPECT(std::abs(choice.log_probability - (logits[choice.token] - std::log(total))) < 1e-4);
  }
}

TEST(sampler_frequencies_follow_probabilities) {
  const std::vector<float> logits = {0, 1, 2, 0.5f};
  TestSampler sampler(4);
  std::vector<int> counts(4);
  constexpr int kDraws = 40'000;
  for (uint32_t position = 0; position < kDraws; ++position)
    ++counts[sampler.choose(logits, {.temperature = 1, .seed = 42}, {}, position).value().token];
  double total = 0;
  for (float x : logits) total += std::exp(static_cast<double>(x));
  for (uint32_t id = 0; id < 4; ++id)
    EXPECT(std::abs(counts[id] / static_cast<double>(kDraws) -
                    std::exp(static_cast<double>(logits[id])) / total) < 0.01);
}

TEST(sampler_breaks_ties_by_lower_id) {
  const std::vector<float> logits = {1, 3, 3, 3};
  TestSampler sampler(4);
  EXPECT_EQ(sampler.choose(logits, {}, {}, 0).value().token, 1u);
  EXPECT_EQ(sampler.choose(logits, {.temperature = 1, .top_k = 1}, {}, 0).value().token, 1u);
}

TEST(sampler_refuses_broken_logits_and_survives_extremes) {
  TestSampler sampler(3);
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const std::vector<float> logits = {0, bad, 1};
    const auto choice = sampler.choose(logits, {}, {}, 0);
    EXPECT_EQ(static_cast<int>(choice.status().code()), static_cast<int>(Code::kNonFinite));
  }
  const std::vector<float> wide = {-3e38f, 3e38f, 0};
  const auto choice = sampler.choose(wide, {.temperature = 1e-30f, .seed = 1}, {}, 0);
  ASSERT(choice.ok());
  EXPECT_EQ(choice.value().token, 1u);
}

TEST(sampler_options_are_checked) {
  EXPECT(check_sampling({}).ok());
  for (const Sampling& bad :
       {Sampling{.temperature = -1}, Sampling{.temperature = NAN}, Sampling{.top_p = 0},
        Sampling{.top_p = 1.1f}, Sampling{.min_p = -0.1f}, Sampling{.repeat_penalty = 0},
        Sampling{.repeat_last_n = -2}, Sampling{.frequency_penalty = INFINITY},
        Sampling{.presence_penalty = NAN}})
    EXPECT_EQ(static_cast<int>(check_sampling(bad).code()),
              static_cast<int>(Code::kInvalidArgument));
}

TEST(uniform_draws_are_even_and_differ_by_seed_and_position) {
  std::vector<int> buckets(10);
  for (uint32_t seed = 0; seed < 100; ++seed)
    for (uint32_t position = 0; position < 1000; ++position) {
      const double u = uniform_at(seed, position);
      ASSERT(u >= 0 && u < 1);
      ++buckets[static_cast<size_t>(u * 10)];
    }
  for (int count : buckets) EXPECT(std::abs(count - 10'000) < 500);
  EXPECT(uniform_at(1, 2) != uniform_at(2, 1));
}

}  // namespace
}  // namespace hypura::runtime
