// Shape and flags of one model, as the decoder needs them: no names, no metadata, only numbers and roles.
//
// Families differ by flags (ts/manifest/architectures); the decoder is one. Values come from a Load message and were
// checked there (runtime/load_message.cpp). Immutable after load.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace hypura::model {

// What a tensor does. Crosses the border as a number: append only, never renumber (ts/manifest/tensor-role.ts).
enum class TensorRole : uint16_t {
  kTokenEmbedding = 0,   // (n_vocab, n_embd), row bands
  kOutputNorm = 1,       // (n_embd)
  kOutput = 2,           // (n_vocab, n_embd); tied models list the embedding's bytes again
  kOutputBias = 3,       // (n_vocab)
  kAttentionNorm = 10,   // (n_embd)
  kQuery = 11,           // (n_head * head_dim_k, n_embd)
  kKey = 12,             // (n_head_kv * head_dim_k, n_embd)
  kValue = 13,           // (n_head_kv * head_dim_v, n_embd)
  kAttentionOutput = 14, // (n_embd, n_head * head_dim_v)
  kQueryBias = 15,
  kKeyBias = 16,
  kValueBias = 17,
  kAttentionOutputBias = 18,
  kQueryNorm = 19,       // (head_dim_k) or (n_head * head_dim_k), see QkNorm
  kKeyNorm = 20,
  kAttentionPostNorm = 21,  // (n_embd): norm of the attention block's result, before it is added
  kFfnNorm = 30,         // (n_embd)
  kFfnGate = 31,         // (n_ff, n_embd)
  kFfnUp = 32,           // (n_ff, n_embd)
  kFfnDown = 33,         // (n_embd, n_ff)
  kFfnGateBias = 34,
  kFfnUpBias = 35,
  kFfnDownBias = 36,
  kFfnPostNorm = 37,     // (n_embd)
  kRouter = 40,          // (n_expert, n_embd)
  kRouterSelectionBias = 41,  // (n_expert): added for the choice, not for the weight
  kExpertGate = 42,      // per expert (n_ff_expert, n_embd)
  kExpertUp = 43,        // per expert (n_ff_expert, n_embd)
  kExpertDown = 44,      // per expert (n_embd, n_ff_expert)
  kExpertGateUp = 45,    // per expert (2 * n_ff_expert, n_embd): gate rows, then up rows
  kSharedGate = 46,      // (n_ff_shared, n_embd)
  kSharedUp = 47,
  kSharedDown = 48,      // (n_embd, n_ff_shared)
  kSharedRouter = 49,    // (1, n_embd): sigmoid of its product scales the shared expert
};

inline constexpr uint16_t kNoLayer = 0xffff;

enum class RopeKind : uint32_t { kNone = 0, kNorm = 1, kNeox = 2 };  // neighbouring pairs; halves
enum class QkNorm : uint32_t { kNone = 0, kPerHead = 1, kWholeRow = 2 };
enum class Activation : uint32_t { kSilu = 0, kGeluTanh = 1 };
enum class Gating : uint32_t { kSoftmax = 0, kSigmoid = 1, kSoftmaxAfterTopK = 2 };

// One record of the Load message. Sizes are elements, not bytes.
struct ModelSpec {
  uint32_t n_layer;
  uint32_t n_embd;
  uint32_t n_head;
  uint32_t n_head_kv;
  uint32_t head_dim_k;
  uint32_t head_dim_v;
  uint32_t n_ff;           // 0 when no layer is dense
  uint32_t n_vocab;
  uint32_t n_expert;       // 0: dense
  uint32_t n_expert_used;
  uint32_t n_ff_expert;
  uint32_t n_ff_shared;    // 0: no shared expert
  uint32_t n_layer_dense_lead;  // layers before the first mixture layer
  uint32_t n_rot;          // rotated elements per head, even; the Load message carries n_rot / 2 inverse frequencies
  RopeKind rope;
  QkNorm qk_norm;
  Activation activation;
  Gating gating;
  uint32_t gating_normalised;   // 1: chosen weights are divided by their sum
  float norm_epsilon;
  float attention_scale;        // usually 1 / sqrt(head_dim_k)
  float rope_magnitude;         // cosines and sines are multiplied by it (YaRN); 1 otherwise
  float expert_weights_scale;   // 1: none
  float embedding_scale;        // 1: none
  float residual_scale;         // applied to each block's result before it is added; 1: none
  float logit_scale;            // logits are multiplied by it; 1: none
};
static_assert(sizeof(ModelSpec) == 26 * 4);

// One tensor. Bands and experts are blocks of the scheduler's table; the decoder asks for them by id.
struct TensorEntry {
  TensorRole role;
  uint16_t layer;        // kNoLayer for the model's own
  uint32_t type;         // kernels::QuantType; for experts each extent names its own
  uint32_t n_rows;       // 1 for vectors; per expert for expert tensors
  uint32_t n_cols;
  uint32_t first_block;  // bands: ascending ids in row order; experts: block of expert 0 of this layer
  uint32_t n_blocks;
};
static_assert(sizeof(TensorEntry) == 24);

}  // namespace hypura::model
