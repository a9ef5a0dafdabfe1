#include "native/runtime/load_roles.h"

#include <algorithm>

namespace hypura::runtime {

bool RoleRule::applies(const model::ModelSpec& spec, uint32_t layer) const {
  const bool mixture = spec.n_expert > 0 && layer >= spec.n_layer_dense_lead;
  switch (scope) {
    case RoleScope::kModel: return layer == model::kNoLayer;
    case RoleScope::kEveryLayer: return layer < spec.n_layer;
    case RoleScope::kDenseLayers: return layer < spec.n_layer && !mixture;
    case RoleScope::kMixtureLayers: return layer < spec.n_layer && mixture;
  }
  return false;
}

std::vector<RoleRule> rules_for(const model::ModelSpec& spec, bool fused_experts) {
  using enum model::TensorRole;
  using enum RoleScope;
  using enum scheduler::BlockKind;
  const uint64_t embd = spec.n_embd, vocab = spec.n_vocab, ff = spec.n_ff, experts = spec.n_expert;
  const uint64_t q = uint64_t{spec.n_head} * spec.head_dim_k,
                 k = uint64_t{spec.n_head_kv} * spec.head_dim_k;
  const uint64_t v = uint64_t{spec.n_head_kv} * spec.head_dim_v,
                 o = uint64_t{spec.n_head} * spec.head_dim_v;
  const uint64_t ff_expert = spec.n_ff_expert, ff_shared = spec.n_ff_shared;
  std::vector<RoleRule> rules = {
      {kTokenEmbedding, "token embedding", kModel, kRowBand, true, vocab, embd},
      {kOutputNorm, "output norm", kModel, kTrunk, true, 1, embd},
      {kOutput, "output", kModel, kBand, true, vocab, embd},
      {kOutputBias, "output bias", kModel, kTrunk, false, 1, vocab},
      {kAttentionNorm, "attention norm", kEveryLayer, kTrunk, true, 1, embd},
      {kQuery, "query", kEveryLayer, kBand, true, q, embd},
      {kKey, "key", kEveryLayer, kBand, true, k, embd},
      {kValue, "value", kEveryLayer, kBand, true, v, embd},
      {kAttentionOutput, "attention output", kEveryLayer, kBand, true, embd, o},
      {kQueryBias, "query bias", kEveryLayer, kTrunk, false, 1, q},
      {kKeyBias, "key bias", kEveryLayer, kTrunk, false, 1, k},
      {kValueBias, "value bias", kEveryLayer, kTrunk, false, 1, v},
      {kAttentionOutputBias, "attention output bias", kEveryLayer, kTrunk, false, 1, embd},
      {kAttentionPostNorm, "attention post norm", kEveryLayer, kTrunk, false, 1, embd},
      {kFfnNorm, "feed-forward norm", kEveryLayer, kTrunk, true, 1, embd},
      {kFfnGate, "feed-forward gate", kDenseLayers, kBand, true, ff, embd},
      {kFfnUp, "feed-forward up", kDenseLayers, kBand, true, ff, embd},
      {kFfnDown, "feed-forward down", kDenseLayers, kBand, true, embd, ff},
      {kFfnGateBias, "feed-forward gate bias", kDenseLayers, kTrunk, false, 1, ff},
      {kFfnUpBias, "feed-forward up bias", kDenseLayers, kTrunk, false, 1, ff},
      {kFfnDownBias, "feed-forward down bias", kDenseLayers, kTrunk, false, 1, embd},
      {kFfnPostNorm, "feed-forward post norm", kEveryLayer, kTrunk, false, 1, embd},
      {kRouter, "router", kMixtureLayers, kTrunk, true, experts, embd},
      {kRouterSelectionBias, "router selection bias", kMixtureLayers, kTrunk, false, 1, experts},
      {kExpertDown, "expert down", kMixtureLayers, kExpert, true, embd, ff_expert},
  };
  if (spec.qk_norm != model::QkNorm::kNone) {
    const bool per_head = spec.qk_norm == model::QkNorm::kPerHead;
    rules.push_back(
        {kQueryNorm, "query norm", kEveryLayer, kTrunk, true, 1, per_head ? spec.head_dim_k : q});
    rules.push_back(
        {kKeyNorm, "key norm", kEveryLayer, kTrunk, true, 1, per_head ? spec.head_dim_k : k});
  }
  if (fused_experts) {
    rules.push_back(
        {kExpertGateUp, "expert gate and up", kMixtureLayers, kExpert, true, 2 * ff_expert, embd});
  } else {
    rules.push_back({kExpertGate, "expert gate", kMixtureLayers, kExpert, true, ff_expert, embd});
    rules.push_back({kExpertUp, "expert up", kMixtureLayers, kExpert, true, ff_expert, embd});
  }
  if (ff_shared > 0) {
    rules.push_back(
        {kSharedGate, "shared expert gate", kMixtureLayers, kBand, true, ff_shared, embd});
    rules.push_back({kSharedUp, "shared expert up", kMixtureLayers, kBand, true, ff_shared, embd});
    rules.push_back(
        {kSharedDown, "shared expert down", kMixtureLayers, kBand, true, embd, ff_shared});
    rules.push_back(
        {kSharedRouter, "shared expert router", kMixtureLayers, kTrunk, false, 1, embd});
  }
  std::sort(rules.begin(), rules.end(),
            [](const RoleRule& a, const RoleRule& b) { return a.role < b.role; });
  return rules;
}

}  // namespace hypura::runtime
