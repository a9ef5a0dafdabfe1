#include "native/model/resolver.h"

#include <cstring>
#include <utility>

#include "native/base/limits.h"

namespace hypura::model {
namespace {

constexpr uint32_t kRolesEnd = static_cast<uint32_t>(TensorRole::kSharedRouter) + 1;

constexpr std::pair<TensorRole, const char*> kRoleNames[] = {
    {TensorRole::kTokenEmbedding, "token embedding"},
    {TensorRole::kOutputNorm, "output norm"},
    {TensorRole::kOutput, "output head"},
    {TensorRole::kOutputBias, "output bias"},
    {TensorRole::kAttentionNorm, "attention norm"},
    {TensorRole::kQuery, "query"},
    {TensorRole::kKey, "key"},
    {TensorRole::kValue, "value"},
    {TensorRole::kAttentionOutput, "attention output"},
    {TensorRole::kQueryBias, "query bias"},
    {TensorRole::kKeyBias, "key bias"},
    {TensorRole::kValueBias, "value bias"},
    {TensorRole::kAttentionOutputBias, "attention output bias"},
    {TensorRole::kQueryNorm, "query norm"},
    {TensorRole::kKeyNorm, "key norm"},
    {TensorRole::kAttentionPostNorm, "attention post-norm"},
    {TensorRole::kFfnNorm, "feed-forward norm"},
    {TensorRole::kFfnGate, "feed-forward gate"},
    {TensorRole::kFfnUp, "feed-forward up"},
    {TensorRole::kFfnDown, "feed-forward down"},
    {TensorRole::kFfnGateBias, "feed-forward gate bias"},
    {TensorRole::kFfnUpBias, "feed-forward up bias"},
    {TensorRole::kFfnDownBias, "feed-forward down bias"},
    {TensorRole::kFfnPostNorm, "feed-forward post-norm"},
    {TensorRole::kRouter, "router"},
    {TensorRole::kRouterSelectionBias, "router selection bias"},
    {TensorRole::kExpertGate, "expert gate"},
    {TensorRole::kExpertUp, "expert up"},
    {TensorRole::kExpertDown, "expert down"},
    {TensorRole::kExpertGateUp, "expert gate and up"},
    {TensorRole::kSharedGate, "shared expert gate"},
    {TensorRole::kSharedUp, "shared expert up"},
    {TensorRole::kSharedDown, "shared expert down"},
    {TensorRole::kSharedRouter, "shared expert router"},
};

std::string place(TensorRole role, uint16_t layer) {
  std::string name = "tensor of role " + std::to_string(static_cast<uint32_t>(role));
  for (const auto& [known, words] : kRoleNames)
    if (known == role) name = words;
  return layer == kNoLayer ? name : name + " of layer " + std::to_string(layer);
}

Status unsupported(TensorRole role, uint16_t layer, const std::string& what) {
  return Status::error(Code::kUnsupported, place(role, layer) + ": " + what);
}

}  // namespace

Status bad_tensor(TensorRole role, uint16_t layer, const std::string& what) {
  return Status::error(Code::kBadLoad, place(role, layer) + ": " + what);
}

Resolver::Resolver(const DecoderParts& parts)
    : parts_(parts), by_role_((parts.spec.n_layer + 1) * kRolesEnd, nullptr) {
  for (const TensorEntry& tensor : parts.tensors) {
    const bool has_place = static_cast<uint32_t>(tensor.role) < kRolesEnd &&
                           (tensor.layer == kNoLayer || tensor.layer < parts.spec.n_layer);
    if (!has_place) {
      fail(bad_tensor(tensor.role, tensor.layer, "this model has no such place"));
      continue;
    }
    const TensorEntry*& known = slot(tensor.role, tensor.layer);
    if (known != nullptr) fail(bad_tensor(tensor.role, tensor.layer, "given twice"));
    known = &tensor;
  }
}

const float* Resolver::vector(TensorRole role, uint16_t layer, uint32_t n_cols, bool required) {
  const TensorEntry* tensor = checked(role, layer, 1, n_cols, required);
  const kernels::QuantTypeInfo* type =
      tensor == nullptr ? nullptr : type_of(role, layer, tensor->type, n_cols);
  if (type == nullptr) return nullptr;
  const std::byte* data = parts_.cache.trunk(BlockId{tensor->first_block});
  const bool is_float = type->type == kernels::QuantType::kF32;
  if (is_float && reinterpret_cast<uintptr_t>(data) % alignof(float) == 0)
    return reinterpret_cast<const float*>(data);

  std::vector<float>& copy = weights.copies.emplace_back(n_cols);
  if (is_float) {
    std::memcpy(copy.data(), data, n_cols * sizeof(float));
    return copy.data();
  }
  const kernels::DequantizeFunction dequantize = parts_.kernels.dequantize(type->type);
  if (dequantize == nullptr) {
    fail_without_kernel(*tensor, *type);
    return nullptr;
  }
  dequantize(data, n_cols, copy.data());
  return copy.data();
}

TrunkMatrix Resolver::trunk(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                            bool required) {
  TrunkMatrix matrix;
  if (const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, required)) {
    static_cast<MatrixShape&>(matrix) = shape_of(*tensor);
    matrix.data = parts_.cache.trunk(BlockId{tensor->first_block});
  }
  return matrix;
}

BandMatrix Resolver::bands(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                           bool adjacent) {
  BandMatrix matrix;
  const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, true);
  if (tensor == nullptr) return matrix;
  static_cast<MatrixShape&>(matrix) = shape_of(*tensor);
  matrix.first_block = tensor->first_block;
  matrix.n_blocks = tensor->n_blocks;
  if (tensor->n_blocks == 0 || tensor->first_block < next_band_ ||
      (adjacent && tensor->first_block != next_band_))
    fail(bad_tensor(role, layer,
                    "bands from " + std::to_string(tensor->first_block) +
                        " are not in execution order, expected " + std::to_string(next_band_)));
  next_band_ = tensor->first_block + tensor->n_blocks;
  return matrix;
}

const TensorEntry* Resolver::experts(TensorRole role, uint16_t layer, uint32_t n_rows,
                                     uint32_t n_cols) {
  const TensorEntry* tensor = checked(role, layer, n_rows, n_cols, true);
  if (tensor == nullptr || tensor->n_blocks == parts_.spec.n_expert) return tensor;
  fail(bad_tensor(role, layer,
                  "has " + std::to_string(tensor->n_blocks) + " blocks for " +
                      std::to_string(parts_.spec.n_expert) + " experts"));
  return nullptr;
}

ExpertMatrix Resolver::expert_matrix(TensorRole role, uint16_t layer, uint32_t type,
                                     uint32_t n_cols) {
  ExpertMatrix matrix;
  matrix.type = type_of(role, layer, type, n_cols);
  if (matrix.type == nullptr) return matrix;
  matrix.matmul = parts_.kernels.matmul(matrix.type->type);
  if (matrix.matmul == nullptr)
    fail(unsupported(role, layer, std::string("no kernel for tensor type ") + matrix.type->name));
  return matrix;
}

void Resolver::embedding() {
  constexpr TensorRole kRole = TensorRole::kTokenEmbedding;
  const ModelSpec& spec = parts_.spec;
  const TensorEntry* tensor = checked(kRole, kNoLayer, spec.n_vocab, spec.n_embd, true);
  const kernels::QuantTypeInfo* type =
      tensor == nullptr ? nullptr : type_of(kRole, kNoLayer, tensor->type, spec.n_embd);
  if (type == nullptr) return;
  weights.embedding = parts_.kernels.dequantize(type->type);
  if (weights.embedding == nullptr) fail_without_kernel(*tensor, *type);
  if (tensor->n_blocks != (spec.n_vocab - 1) / kRowsPerRowBand + 1)
    fail(bad_tensor(kRole, kNoLayer, "is not cut into bands of 32 rows"));
  weights.embedding_row_bytes = kernels::row_bytes(*type, spec.n_embd);
  weights.embedding_first_block = tensor->first_block;
}

void Resolver::fail(Status status) {
  if (status_.ok()) status_ = std::move(status);
}

const TensorEntry*& Resolver::slot(TensorRole role, uint16_t layer) {
  const uint32_t row = layer == kNoLayer ? parts_.spec.n_layer : layer;
  return by_role_[row * kRolesEnd + static_cast<uint32_t>(role)];
}

const TensorEntry* Resolver::checked(TensorRole role, uint16_t layer, uint32_t n_rows,
                                     uint32_t n_cols, bool required) {
  const TensorEntry* tensor = slot(role, layer);
  if (tensor == nullptr) {
    if (required) fail(bad_tensor(role, layer, "missing"));
    return nullptr;
  }
  if (tensor->n_rows == n_rows && tensor->n_cols == n_cols) return tensor;
  fail(bad_tensor(role, layer,
                  "is " + std::to_string(tensor->n_rows) + " x " + std::to_string(tensor->n_cols) +
                      ", expected " + std::to_string(n_rows) + " x " + std::to_string(n_cols)));
  return nullptr;
}

const kernels::QuantTypeInfo* Resolver::type_of(TensorRole role, uint16_t layer, uint32_t type,
                                                uint32_t n_cols) {
  const kernels::QuantTypeInfo* info = kernels::find_quant_type(type);
  if (info == nullptr) {
    fail(unsupported(role, layer, "unknown tensor type " + std::to_string(type)));
    return nullptr;
  }
  if (n_cols % info->block_weights == 0) return info;
  fail(bad_tensor(role, layer,
                  "rows of " + std::to_string(n_cols) + " are no whole blocks of " + info->name));
  return nullptr;
}

MatrixShape Resolver::shape_of(const TensorEntry& tensor) {
  MatrixShape shape{.n_rows = tensor.n_rows, .n_cols = tensor.n_cols};
  const kernels::QuantTypeInfo* type =
      type_of(tensor.role, tensor.layer, tensor.type, tensor.n_cols);
  if (type == nullptr) return shape;
  shape.matmul = parts_.kernels.matmul(type->type);
  shape.form = type->form;
  if (shape.matmul == nullptr) fail_without_kernel(tensor, *type);
  return shape;
}

void Resolver::fail_without_kernel(const TensorEntry& tensor, const kernels::QuantTypeInfo& type) {
  fail(unsupported(tensor.role, tensor.layer,
                   std::string("no kernel for tensor type ") + type.name));
}

}  // namespace hypura::model
