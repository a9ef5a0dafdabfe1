#include "native/model/weights.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "native/base/limits.h"
#include "native/model/decoder.h"

namespace hypura::model {
namespace {

constexpr uint32_t kRolesEnd = static_cast<uint32_t>(TensorRole::kSharedRouter) + 1;

const char* role_name(TensorRole role) {
  switch (role) {
    case TensorRole::kTokenEmbedding: return "token embedding";
    case TensorRole::kOutputNorm: return "output norm";
    case TensorRole::kOutput: return "output head";
    case TensorRole::kOutputBias: return "output bias";
    case TensorRole::kAttentionNorm: return "attention norm";
    case TensorRole::kQuery: return "query";
    case TensorRole::kKey: return "key";
    case TensorRole::kValue: return "value";
    case TensorRole::kAttentionOutput: return "attention output";
    case TensorRole::kQueryBias: return "query bias";
    case TensorRole::kKeyBias: return "key bias";
    case TensorRole::kValueBias: return "value bias";
    case TensorRole::kAttentionOutputBias: return "attention output bias";
    case TensorRole::kQueryNorm: return "query norm";
    case TensorRole::kKeyNorm: return "key norm";
    case TensorRole::kAttentionPostNorm: return "attention post-norm";
    case TensorRole::kFfnNorm: return "feed-forward norm";
    case TensorRole::kFfnGate: return "feed-forward gate";
    case TensorRole::kFfnUp: return "feed-forward up";
    case TensorRole::kFfnDown: return "feed-forward down";
    case TensorRole::kFfnGateBias: return "feed-forward gate bias";
    case TensorRole::kFfnUpBias: return "feed-forward up bias";
    case TensorRole::kFfnDownBias: return "feed-forward down bias";
    case TensorRole::kFfnPostNorm: return "feed-forward post-norm";
    case TensorRole::kRouter: return "router";
    case TensorRole::kRouterSelectionBias: return "router selection bias";
    case TensorRole::kExpertGate: return "expert gate";
    case TensorRole::kExpertUp: return "expert up";
    case TensorRole::kExpertDown: return "expert down";
    case TensorRole::kExpertGateUp: return "expert gate and up";
    case TensorRole::kSharedGate: return "shared expert gate";
    case TensorRole::kSharedUp: return "shared expert up";
    case TensorRole::kSharedDown: return "shared expert down";
    case TensorRole::kSharedRouter: return "shared expert router";
  }
  return "unknown tensor";
}

std::string place(TensorRole role, uint16_t layer) {
  return std::string(role_name(role)) +
         (layer == kNoLayer ? "" : " of layer " + std::to_string(layer));
}

Status bad_load(TensorRole role, uint16_t layer, const std::string& what) {
  return Status::error(Code::kBadLoad, place(role, layer) + ": " + what);
}

// Collects tensors by role and layer, then hands them out checked. The first error sticks, so that the description of a
// layer below reads as a list; finish() returns it.
class Resolver {
 public:
  explicit Resolver(const DecoderParts& parts)
      : parts_(parts), by_role_((parts.spec.n_layer + 1) * kRolesEnd, nullptr) {
    for (const TensorEntry& tensor : parts.tensors) {
      const auto role = static_cast<uint32_t>(tensor.role);
      if (role >= kRolesEnd || (tensor.layer != kNoLayer && tensor.layer >= parts.spec.n_layer)) {
        fail(Status::error(Code::kBadLoad, "a tensor has role " + std::to_string(role) +
                                               " and layer " + std::to_string(tensor.layer) +
                                               ": this model has no such place"));
        continue;
      }
      const TensorEntry*& known = slot(tensor.role, tensor.layer);
      if (known != nullptr) fail(bad_load(tensor.role, tensor.layer, "given twice"));
      known = &tensor;
    }
  }

  const TensorEntry* find(TensorRole role, uint16_t layer) { return slot(role, layer); }

  // (n_cols) floats. Null when it is missing and may be.
  const float* vector(TensorRole role, uint16_t layer, uint32_t n_cols, bool required) {
    const TensorEntry* tensor = checked(role, layer, 1, n_cols, required);
    if (tensor == nullptr) return nullptr;
    const kernels::QuantTypeInfo* type = type_of(*tensor, n_cols);
    if (type == nullptr) return nullptr;
    const std::byte* data = parts_.cache.trunk(BlockId{tensor->first_block});
    if (type->type == kernels::QuantType::kF32 &&
        reinterpret_cast<uintptr_t>(data) % alignof(float) == 0)
      return reinterpret_cast<const float*>(data);
    std::vector<float>& copy = weights.copies.emplace_back(n_cols);
    if (type->type == kernels::QuantType::kF32) {
      std::memcpy(copy.data(), data, n_cols * sizeof(float));
    } else {
      const kernels::DequantizeFunction dequantize = parts_.kernels.dequantize(type->type);
      if (dequantize == nullptr) return fail(no_kernel(*tensor, *type)), nullptr;
      dequantize(data, n_cols, copy.data());
    }
    return copy.data();
  }

  TrunkMatrix trunk(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                    bool required) {
    TrunkMatrix matrix;
    if (const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, required)) {
      static_cast<MatrixShape&>(matrix) = shape_of(*tensor);
      matrix.data = parts_.cache.trunk(BlockId{tensor->first_block});
    }
    return matrix;
  }

  // Called in the order of execution, because the ring hands bands out in ascending order. adjacent: this matrix follows
  // the one before without a gap, so that one run of bands spans both.
  BandMatrix bands(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                   bool adjacent) {
    BandMatrix matrix;
    const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, true);
    if (tensor == nullptr) return matrix;
    static_cast<MatrixShape&>(matrix) = shape_of(*tensor);
    matrix.first_block = tensor->first_block;
    matrix.n_blocks = tensor->n_blocks;
    if (tensor->n_blocks == 0 || tensor->first_block < next_band_ ||
        (adjacent && tensor->first_block != next_band_))
      fail(bad_load(role, layer, "bands from " + std::to_string(tensor->first_block) +
                                     " are not in execution order, expected " +
                                     std::to_string(next_band_)));
    next_band_ = tensor->first_block + tensor->n_blocks;
    return matrix;
  }

  // One of the tensors whose blocks are experts.
  const TensorEntry* experts(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols) {
    const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, true);
    if (tensor != nullptr && tensor->n_blocks != parts_.spec.n_expert)
      fail(bad_load(role, layer, "has " + std::to_string(tensor->n_blocks) + " blocks for " +
                                     std::to_string(parts_.spec.n_expert) + " experts"));
    return tensor;
  }

  ExpertMatrix expert_matrix(TensorRole role, uint16_t layer, uint32_t id, uint32_t n_cols) {
    ExpertMatrix matrix;
    matrix.type = kernels::find_quant_type(id);
    if (matrix.type != nullptr) matrix.matmul = parts_.kernels.matmul(matrix.type->type);
    if (matrix.matmul == nullptr)
      fail(Status::error(Code::kUnsupported,
                         place(role, layer) + ": no kernel for tensor type " + std::to_string(id)));
    else if (n_cols % matrix.type->block_weights != 0)
      fail(bad_load(role, layer, "rows of " + std::to_string(n_cols) + " are no whole blocks"));
    return matrix;
  }

  void embedding() {
    const ModelSpec& spec = parts_.spec;
    const TensorEntry* tensor =
        checked(TensorRole::kTokenEmbedding, kNoLayer, spec.n_vocab, spec.n_embd, true);
    const kernels::QuantTypeInfo* type =
        tensor == nullptr ? nullptr : type_of(*tensor, spec.n_embd);
    if (type == nullptr) return;
    weights.embedding = parts_.kernels.dequantize(type->type);
    if (weights.embedding == nullptr) fail(no_kernel(*tensor, *type));
    if (tensor->n_blocks != (spec.n_vocab + kRowsPerRowBand - 1) / kRowsPerRowBand)
      fail(bad_load(tensor->role, kNoLayer, "is not cut into bands of 32 rows"));
    weights.embedding_row_bytes = kernels::row_bytes(*type, spec.n_embd);
    weights.embedding_first_block = tensor->first_block;
  }

  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const Status& status() const { return status_; }

  ModelWeights weights;

 private:
  const TensorEntry*& slot(TensorRole role, uint16_t layer) {
    const uint32_t row = layer == kNoLayer ? parts_.spec.n_layer : layer;
    return by_role_[row * kRolesEnd + static_cast<uint32_t>(role)];
  }

  const TensorEntry* checked(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                             bool required) {
    const TensorEntry* tensor = slot(role, layer);
    if (tensor == nullptr) {
      if (required) fail(bad_load(role, layer, "missing"));
      return nullptr;
    }
    if (tensor->n_rows == n_rows && tensor->n_cols == n_cols) return tensor;
    fail(bad_load(role, layer, "is " + std::to_string(tensor->n_rows) + " x " +
                                   std::to_string(tensor->n_cols) + ", expected " +
                                   std::to_string(n_rows) + " x " + std::to_string(n_cols)));
    return nullptr;
  }

  const kernels::QuantTypeInfo* type_of(const TensorEntry& tensor, uint32_t n_cols) {
    const kernels::QuantTypeInfo* type = kernels::find_quant_type(tensor.type);
    if (type == nullptr) {
      fail(Status::error(Code::kUnsupported, place(tensor.role, tensor.layer) +
                                                 ": unknown tensor type " +
                                                 std::to_string(tensor.type)));
      return nullptr;
    }
    if (n_cols % type->block_weights == 0) return type;
    fail(bad_load(tensor.role, tensor.layer,
                  "rows of " + std::to_string(n_cols) + " are no whole blocks of " + type->name));
    return nullptr;
  }

  MatrixShape shape_of(const TensorEntry& tensor) {
    MatrixShape shape{.n_rows = tensor.n_rows, .n_cols = tensor.n_cols};
    const kernels::QuantTypeInfo* type = type_of(tensor, tensor.n_cols);
    if (type == nullptr) return shape;
    shape.matmul = parts_.kernels.matmul(type->type);
    shape.form = type->form;
    if (shape.matmul == nullptr) fail(no_kernel(tensor, *type));
    return shape;
  }

  static Status no_kernel(const TensorEntry& tensor, const kernels::QuantTypeInfo& type) {
    return Status::error(Code::kUnsupported, place(tensor.role, tensor.layer) +
                                                 ": no kernel for tensor type " + type.name);
  }

  const DecoderParts& parts_;
  std::vector<const TensorEntry*> by_role_;  // [n_layer + 1][kRolesEnd]; the last row is the model's own
  uint32_t next_band_ = 0;
  Status status_;
};

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
    w.query_norm =
        r.vector(TensorRole::kQueryNorm, layer, per_head ? spec.head_dim_k : n_q, true);
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
  w.fused_gate_up = r.find(TensorRole::kExpertGateUp, layer) != nullptr;

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
    return r.fail(bad_load(gate_role, layer, "its tensors name different blocks"));

  w.first_block = gate->first_block;
  w.experts.resize(spec.n_expert);
  for (uint32_t e = 0; e < spec.n_expert; ++e) {
    const BlockId block{w.first_block + e};
    auto& matrices = w.experts[e];
    matrices[0] = r.expert_matrix(gate_role, layer, parts.expert_type(block, 0), spec.n_embd);
    matrices[1] = w.fused_gate_up ? matrices[0]
                                  : r.expert_matrix(up_role, layer, parts.expert_type(block, 1),
                                                    spec.n_embd);
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
