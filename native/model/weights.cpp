#include "native/model/weights.h"

#include "native/model/decoder.h"
#include "native/model/resolver.h"

namespace hypura::model {
namespace {

void resolve_attention(Resolver& r, const ModelSpec& spec, uint16_t layer, AttentionWeights& w) {
  const uint32_t n_q = spec.n_head * spec.head_dim_k;
  const uint32_t n_k = spec.n_head_kv * spec.head_dim_k;
  const uint32_t n_v = spec.n_head_kv * spec.head_dim_v;
  w.norm = r.vector(TensorRole::kAttentionNorm, layer, spec.n_embd, true);
  w.query = r.bands(TensorRole::kQuery, layer, n_q, spec.n_embd, false);
  w.key = r.bands(TensorRole::kKey, layer, n_k, spec.n_embd, true);
  w.value = r.bands(TensorRole::kValue, layer, n_v, spec.n_embd, true);
  w.query_bias = r.vector(TensorRole::kQueryBias, layer, n_q, false);
  w.key_bias = r.vector(TensorRole::kKeyBias, layer, n_k, false);
  w.value_bias = r.vector(TensorRole::kValueBias, layer, n_v, false);
  if (spec.qk_norm != QkNorm::kNone) {
    const bool per_head = spec.qk_norm == QkNorm::kPerHead;
    w.query_norm = r.vector(TensorRole::kQueryNorm, layer, per_head ? spec.head_dim_k : n_q, true);
    w.key_norm = r.vector(TensorRole::kKeyNorm, layer, per_head ? spec.head_dim_k : n_k, true);
  }
  w.output = r.bands(TensorRole::kAttentionOutput, layer, spec.n_embd,
                     spec.n_head * spec.head_dim_v, false);
  w.output_bias = r.vector(TensorRole::kAttentionOutputBias, layer, spec.n_embd, false);
  w.post_norm = r.vector(TensorRole::kAttentionPostNorm, layer, spec.n_embd, false);
}

void resolve_dense(Resolver& r, const ModelSpec& spec, uint16_t layer, FfnWeights& w) {
  w.gate = r.bands(TensorRole::kFfnGate, layer, spec.n_ff, spec.n_embd, false);
  w.up = r.bands(TensorRole::kFfnUp, layer, spec.n_ff, spec.n_embd, true);
  w.gate_bias = r.vector(TensorRole::kFfnGateBias, layer, spec.n_ff, false);
  w.up_bias = r.vector(TensorRole::kFfnUpBias, layer, spec.n_ff, false);
  w.down = r.bands(TensorRole::kFfnDown, layer, spec.n_embd, spec.n_ff, false);
  w.down_bias = r.vector(TensorRole::kFfnDownBias, layer, spec.n_embd, false);
}

void resolve_shared(Resolver& r, const ModelSpec& spec, uint16_t layer, FfnWeights& w) {
  w.gate = r.bands(TensorRole::kSharedGate, layer, spec.n_ff_shared, spec.n_embd, false);
  w.up = r.bands(TensorRole::kSharedUp, layer, spec.n_ff_shared, spec.n_embd, true);
  w.down = r.bands(TensorRole::kSharedDown, layer, spec.n_embd, spec.n_ff_shared, false);
}

void resolve_experts(Resolver& r, const DecoderParts& parts, uint16_t layer, MoeWeights& w) {
  const ModelSpec& spec = parts.spec;
  w.router = r.trunk(TensorRole::kRouter, layer, spec.n_expert, spec.n_embd, true);
  w.selection_bias = r.vector(TensorRole::kRouterSelectionBias, layer, spec.n_expert, false);
  w.shared_router = r.trunk(TensorRole::kSharedRouter, layer, 1, spec.n_embd, false);
  w.fused_gate_up = r.has(TensorRole::kExpertGateUp, layer);

  const TensorRole gate_role =
      w.fused_gate_up ? TensorRole::kExpertGateUp : TensorRole::kExpertGate;
  const TensorRole up_role = w.fused_gate_up ? gate_role : TensorRole::kExpertUp;
  const uint32_t n_gate_rows = spec.n_ff_expert * (w.fused_gate_up ? 2 : 1);
  const TensorEntry* gate = r.experts(gate_role, layer, n_gate_rows, spec.n_embd);
  const TensorEntry* up = r.experts(up_role, layer, n_gate_rows, spec.n_embd);
  const TensorEntry* down =
      r.experts(TensorRole::kExpertDown, layer, spec.n_embd, spec.n_ff_expert);
  if (gate == nullptr || up == nullptr || down == nullptr) return;
  if (gate->first_block != up->first_block || gate->first_block != down->first_block)
    return r.fail(bad_tensor(gate_role, layer, "its tensors name different blocks"));

  w.first_block = gate->first_block;
  w.experts.resize(spec.n_expert);
  for (uint32_t e = 0; e < spec.n_expert; ++e) {
    const BlockId block{w.first_block + e};
    auto& matrices = w.experts[e];
    matrices[0] = r.expert_matrix(gate_role, layer, parts.expert_type(block, 0), spec.n_embd);
    matrices[1] = w.fused_gate_up
                      ? matrices[0]
                      : r.expert_matrix(up_role, layer, parts.expert_type(block, 1), spec.n_embd);
    matrices[2] =
        r.expert_matrix(TensorRole::kExpertDown, layer,
                        parts.expert_type(block, w.fused_gate_up ? 1 : 2), spec.n_ff_expert);
    if (!r.status().ok()) return;
    w.input_forms |= form_set(matrices[0].type->form) | form_set(matrices[1].type->form);
  }
}

}  // namespace

Result<ModelWeights> resolve_weights(const DecoderParts& parts) {
  const ModelSpec& spec = parts.spec;
  Resolver r(parts);
  ModelWeights& weights = r.weights;
  r.embedding();
  weights.layers.resize(spec.n_layer);
  for (uint16_t layer = 0; layer < spec.n_layer; ++layer) {
    LayerWeights& w = weights.layers[layer];
    resolve_attention(r, spec, layer, w.attention);
    w.ffn_norm = r.vector(TensorRole::kFfnNorm, layer, spec.n_embd, true);
    if (spec.n_expert == 0 || layer < spec.n_layer_dense_lead) {
      resolve_dense(r, spec, layer, w.ffn);
    } else {
      if (spec.n_ff_shared > 0) resolve_shared(r, spec, layer, w.ffn);
      resolve_experts(r, parts, layer, w.moe);
    }
    w.ffn_post_norm = r.vector(TensorRole::kFfnPostNorm, layer, spec.n_embd, false);
    if (!r.status().ok()) return r.status();
  }
  weights.output_norm = r.vector(TensorRole::kOutputNorm, kNoLayer, spec.n_embd, true);
  weights.output = r.bands(TensorRole::kOutput, kNoLayer, spec.n_vocab, spec.n_embd, false);
  weights.output_bias = r.vector(TensorRole::kOutputBias, kNoLayer, spec.n_vocab, false);
  if (!r.status().ok()) return r.status();
  return std::move(weights);
}

}  // namespace hypura::model
