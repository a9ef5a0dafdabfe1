#include "native/model/layers/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace hypura::model {
namespace {

// Smallest normal F16, which keeps a sum of vanishing sigmoids from being divided by (as llama.cpp does).
constexpr float kWeightSumMin = 6.103515625e-5f;
// Marks what was taken: NaN is never the largest, and no legal candidate is NaN.
constexpr float kTaken = std::numeric_limits<float>::quiet_NaN();

// Index of the largest element that is not NaN, the lowest of equals; n when there is none.
uint32_t largest(const float* x, uint32_t n) {
  uint32_t best = n;
  for (uint32_t i = 0; i < n; ++i)
    if (best == n ? !std::isnan(x[i]) : x[i] > x[best]) best = i;
  return best;
}

void normalise(float* weights, uint32_t n) {
  float sum = 0;
  for (uint32_t rank = 0; rank < n; ++rank) sum += weights[rank];
  sum = std::max(sum, kWeightSumMin);
  for (uint32_t rank = 0; rank < n; ++rank) weights[rank] /= sum;
}

}  // namespace

bool choose_experts(const ModelSpec& spec, const kernels::KernelSet& kernels, float* logits,
                    const float* selection_bias, float* selection, uint16_t* chosen,
                    float* weights) {
  const uint32_t n = spec.n_expert;
  const uint32_t n_used = spec.n_expert_used;
  if (!std::all_of(logits, logits + n, [](float x) { return std::isfinite(x); })) return false;

  if (spec.gating == Gating::kSoftmax) kernels.softmax(logits, n);
  if (spec.gating == Gating::kSigmoid) kernels.sigmoid(logits, n);
  std::copy(logits, logits + n, selection);
  if (selection_bias != nullptr) kernels.add(selection_bias, n, selection);

  for (uint32_t rank = 0; rank < n_used; ++rank) {
    const uint32_t best = largest(selection, n);
    if (best == n) return false;
    selection[best] = kTaken;
    chosen[rank] = static_cast<uint16_t>(best);
    weights[rank] = logits[best];
  }

  if (spec.gating == Gating::kSoftmaxAfterTopK) kernels.softmax(weights, n_used);
  if (spec.gating_normalised != 0) normalise(weights, n_used);
  if (spec.expert_weights_scale != 1.0f) kernels.scale(spec.expert_weights_scale, n_used, weights);
  return true;
}

}  // namespace hypura::model
