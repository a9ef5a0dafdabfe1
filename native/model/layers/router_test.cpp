// What could break: a tie goes to the wrong expert, a bias leaks into the weight, NaN is chosen, or a gate is normalised
// when it must not be. How we notice: a double-precision router that sorts is the second implementation.
#include "native/model/layers/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "native/base/testing.h"

namespace hypura::model {
namespace {

struct Choice {
  bool ok = false;
  std::vector<uint16_t> experts;
  std::vector<float> weights;
};

ModelSpec router_spec(uint32_t n, uint32_t n_used, Gating gating, bool normalised,
                      float scale = 1) {
  ModelSpec spec{};
  spec.n_expert = n;
  spec.n_expert_used = n_used;
  spec.gating = gating;
  spec.gating_normalised = normalised;
  spec.expert_weights_scale = scale;
  return spec;
}

Choice choose(const ModelSpec& spec, std::vector<float> logits, const float* bias = nullptr) {
  Choice choice;
  choice.experts.resize(spec.n_expert_used);
  choice.weights.resize(spec.n_expert_used);
  std::vector<float> selection(spec.n_expert);
  choice.ok = choose_experts(spec, *kernels::runnable_kernel_sets()[0], logits.data(), bias,
                             selection.data(), choice.experts.data(), choice.weights.data());
  return choice;
}

// The second implementation: doubles and a stable sort.
Choice expected(const ModelSpec& spec, const std::vector<float>& logits, const float* bias) {
  std::vector<double> p(logits.begin(), logits.end());
  const auto softmax = [](std::vector<double>& x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - top);
    for (double& value : x) value /= sum;
  };
  if (spec.gating == Gating::kSoftmax) softmax(p);
  if (spec.gating == Gating::kSigmoid)
    for (double& value : p) value = 1 / (1 + std::exp(-value));
  std::vector<uint16_t> order(p.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  const auto key = [&](uint16_t i) { return p[i] + (bias == nullptr ? 0 : bias[i]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](uint16_t a, uint16_t b) { return key(a) > key(b); });
  order.resize(spec.n_expert_used);
  std::vector<double> weights;
  for (const uint16_t e : order) weights.push_back(p[e]);
  if (spec.gating == Gating::kSoftmaxAfterTopK) softmax(weights);
  if (spec.gating_normalised) {
    const double sum =
        std::max(std::accumulate(weights.begin(), weights.end(), 0.0), 6.103515625e-5);
    for (double& weight : weights) weight /= sum;
  }
  Choice choice{.ok = true, .experts = order, .weights = {}};
  for (const double weight : weights)
    choice.weights.push_back(static_cast<float>(weight * spec.expert_weights_scale));
  return choice;
}

TEST(router_agrees_with_a_sorting_router_in_double) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const Gating gating : {Gating::kSoftmax, Gating::kSigmoid, Gating::kSoftmaxAfterTopK})
    for (const bool normalised : {false, true})
      for (const bool biased : {false, true})
        for (int round = 0; round < 50; ++round) {
          const ModelSpec spec = router_spec(37, 5, gating, normalised, 2.5f);
          std::vector<float> logits(37), bias(37);
          for (float& x : logits) x = normal(random);
          for (float& x : bias) x = normal(random);
          const Choice ours = choose(spec, logits, biased ? bias.data() : nullptr);
          const Choice theirs = expected(spec, logits, biased ? bias.data() : nullptr);
          ASSERT(ours.ok);
          ASSERT(ours.experts == theirs.experts);
          for (int rank = 0; rank < 5; ++rank)
            ASSERT(std::abs(ours.weights[rank] - theirs.weights[rank]) <=
                   1e-5f * std::abs(theirs.weights[rank]));
        }
}

TEST(router_breaks_ties_by_the_lower_index) {
  const Choice choice = choose(router_spec(6, 4, Gating::kSoftmax, true), {1, 2, 1, 2, 2, 1});
  EXPECT(choice.experts == (std::vector<uint16_t>{1, 3, 4, 0}));
}

TEST(router_keeps_vanishing_sigmoids_from_dividing_by_zero) {
  const Choice choice = choose(router_spec(4, 2, Gating::kSigmoid, true), {-200, -200, -200, -200});
  ASSERT(choice.ok);
  EXPECT(std::isfinite(choice.weights[0]) && choice.weights[0] < 1e-3f);
}

TEST(router_refuses_what_is_not_finite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const ModelSpec spec = router_spec(3, 2, Gating::kSigmoid, true);
  EXPECT(!choose(spec, {1, nan, 2}).ok);
  EXPECT(!choose(spec, {1, infinity, 2}).ok);
  const float bias[] = {nan, nan, 0};
  EXPECT(!choose(spec, {1, 3, 2}, bias).ok);
}

}  // namespace
}  // namespace hypura::model
