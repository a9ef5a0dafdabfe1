// From the tensors of the Load message to what each layer multiplies with: shapes checked, kernels bound once.
//
// Missing optional tensors are null or empty; which are optional follows from the spec alone.
// Immutable after resolve_weights().   Allocates: there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"
#include "native/model/model_spec.h"

namespace hypura::model {

struct DecoderParts;

// Set of ActivationForm: bit i is form i.
using FormSet = uint8_t;
constexpr FormSet form_set(kernels::ActivationForm form) {
  return static_cast<FormSet>(1u << static_cast<uint32_t>(form));
}

// (n_rows, n_cols), row-major, of one type.
struct MatrixShape {
  kernels::MatmulFunction matmul = nullptr;  // null: the model has no such tensor
  kernels::ActivationForm form{};
  uint32_t n_rows = 0;
  uint32_t n_cols = 0;

  explicit operator bool() const { return matmul != nullptr; }
  FormSet forms() const { return matmul == nullptr ? FormSet{0} : form_set(form); }
};
// Cut into bands, which the cache lends by id.
struct BandMatrix : MatrixShape {
  uint32_t first_block = 0;
  uint32_t n_blocks = 0;
};
// Always in memory.
struct TrunkMatrix : MatrixShape {
  const std::byte* data = nullptr;
};

struct AttentionWeights {
  const float* norm = nullptr;
  BandMatrix query, key, value;  // consecutive bands
  const float* query_bias = nullptr;
  const float* key_bias = nullptr;
  const float* value_bias = nullptr;
  const float* query_norm = nullptr;
  const float* key_norm = nullptr;
  BandMatrix output;
  const float* output_bias = nullptr;
  const float* post_norm = nullptr;
};

// A gated feed-forward network: dense, or the shared expert.
struct FfnWeights {
  BandMatrix gate, up;  // consecutive bands
  const float* gate_bias = nullptr;
  const float* up_bias = nullptr;
  BandMatrix down;
  const float* down_bias = nullptr;
};

struct ExpertMatrix {
  const kernels::QuantTypeInfo* type = nullptr;
  kernels::MatmulFunction matmul = nullptr;
};

struct MoeWeights {
  TrunkMatrix router;
  const float* selection_bias = nullptr;
  TrunkMatrix shared_router;   // may be missing: the shared expert then counts in full
  uint32_t first_block = 0;    // expert e is block first_block + e
  bool fused_gate_up = false;  // two extents instead of three
  FormSet input_forms = 0;     // of all gates and ups
  std::vector<std::array<ExpertMatrix, 3>> experts;  // gate, up, down
};

struct LayerWeights {
  AttentionWeights attention;
  const float* ffn_norm = nullptr;
  const float* ffn_post_norm = nullptr;
  FfnWeights ffn;  // of a dense layer, or of the shared expert of a mixture layer
  MoeWeights moe;  // without experts in a dense layer

  bool is_mixture() const { return !moe.experts.empty(); }
};

struct ModelWeights {
  kernels::DequantizeFunction embedding = nullptr;
  uint64_t embedding_row_bytes = 0;
  uint32_t embedding_first_block = 0;
  std::vector<LayerWeights> layers;
  const float* output_norm = nullptr;
  BandMatrix output;
  const float* output_bias = nullptr;

  std::vector<std::vector<float>> copies;  // vectors that are no aligned F32 in the trunk
};

// Errors: kBadLoad, kUnsupported, each naming the tensor. The cache must be loaded: the trunk is read.
Result<ModelWeights> resolve_weights(const DecoderParts& parts);

}  // namespace hypura::model
