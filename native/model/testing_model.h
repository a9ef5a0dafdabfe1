// A tiny random model for tests: GGUF-like bytes of every tensor the spec asks for, and the tables that describe them.
//
// Weights of quantised types are random bytes with sane scales, so that every bit of a block counts. value_of() gives the
// same weights as doubles, for the reference decoder.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/check.h"
#include "native/base/limits.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"
#include "native/model/model_spec.h"
#include "native/scheduler/block_table.h"

namespace hypura::model {

using kernels::QuantType;

// Roles that a family has beside the necessary ones.
struct TinyShape {
  ModelSpec spec{};
  std::vector<TensorRole> optional;  // biases, post-norms, selection bias, shared router
  std::function<QuantType(TensorRole, uint32_t expert)> type;  // of 2-D weights; F32 where empty
  bool fused_gate_up = false;
  uint32_t rows_per_band = 64;    // a multiple of 32
  uint32_t alignment_bytes = 32;  // of tensors in the file
};

// Small, but with an odd vocabulary, several bands per matrix and two query heads per key head.
inline ModelSpec tiny_spec() {
  ModelSpec spec{};
  spec.n_layer = 2;
  spec.n_embd = 256;
  spec.n_head = 4;
  spec.n_head_kv = 2;
  spec.head_dim_k = 64;
  spec.head_dim_v = 64;
  spec.n_ff = 512;
  spec.n_vocab = 331;
  spec.n_rot = 64;
  spec.rope = RopeKind::kNorm;
  spec.norm_epsilon = 1e-5f;
  spec.attention_scale = 0.125f;
  spec.rope_magnitude = 1;
  spec.expert_weights_scale = 1;
  spec.embedding_scale = 1;
  spec.residual_scale = 1;
  spec.logit_scale = 1;
  return spec;
}
inline ModelSpec tiny_mixture_spec() {
  ModelSpec spec = tiny_spec();
  spec.n_ff = 0;
  spec.n_expert = 8;
  spec.n_expert_used = 3;
  spec.n_ff_expert = 256;
  spec.gating_normalised = 1;
  return spec;
}

class TinyModel {
 public:
  TinyModel(TinyShape shape, uint64_t seed) : shape_(std::move(shape)), random_(seed) {
    const ModelSpec& s = shape_.spec;
    for (uint32_t i = 0; i < s.n_rot / 2; ++i)
      inv_freq.push_back(std::pow(10000.0, -2.0 * i / s.n_rot));
    vectors();
    row_bands();
    if (s.n_expert > 0)
      for (uint16_t layer = s.n_layer_dense_lead; layer < s.n_layer; ++layer) experts(layer);
    bands();
    // A pin order that leaves holes everywhere: every third band first.
    for (uint32_t start = 0; start < 3; ++start)
      for (size_t i = start; i < band_ids_.size(); i += 3) pin_order.push_back(band_ids_[i]);
  }

  const ModelSpec& spec() const { return shape_.spec; }
  scheduler::BlockTable table() const { return {blocks, extents, pin_order, first_head_band}; }
  uint32_t expert_type(BlockId block, uint32_t extent) const {
    return extents[blocks[index_of(block)].first_extent + extent].type;
  }
  bool has(TensorRole role, uint16_t layer) const { return values_.contains({role, layer, 0}); }
  // Row-major, n_cols of the tensor wide.
  const std::vector<double>& value_of(TensorRole role, uint16_t layer, uint32_t expert = 0) const {
    return values_.at({role, layer, expert});
  }
  // Byte of the file at which a tensor's first extent begins.
  uint64_t offset_of(TensorRole role, uint16_t layer) const {
    for (const TensorEntry& tensor : tensors)
      if (tensor.role == role && tensor.layer == layer)
        return extents[blocks[tensor.first_block].first_extent].offset_bytes;
    CHECK(false);
    return 0;
  }

  std::vector<std::byte> file;
  std::vector<scheduler::Block> blocks;
  std::vector<scheduler::Extent> extents;
  std::vector<TensorEntry> tensors;
  std::vector<BlockId> pin_order;
  std::vector<double> inv_freq;
  BlockId first_head_band = kNoBlock;

 private:
  bool wants(TensorRole role) const {
    return std::find(shape_.optional.begin(), shape_.optional.end(), role) != shape_.optional.end();
  }
  QuantType type_of(TensorRole role, uint32_t expert = 0) const {
    return shape_.type ? shape_.type(role, expert) : QuantType::kF32;
  }

  // --- bytes ---
  double normal() { return std::normal_distribution<double>()(random_); }
  static uint16_t half_bits(double x) {  // normal range only, towards zero
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
    return static_cast<uint16_t>((bits >> 16 & 0x8000u) |
                                 ((bits & 0x7fffffffu) - 0x38000000u) >> 13);
  }
  void put_half(std::byte* at, double x) {
    const uint16_t bits = half_bits(x);
    std::memcpy(at, &bits, 2);
  }

  // n_rows x n_cols weights of about the given standard deviation.
  std::vector<std::byte> random_bytes(QuantType type, uint64_t n_rows, uint32_t n_cols,
                                      double deviation, double mean) {
    const kernels::QuantTypeInfo& info = *kernels::find_quant_type(static_cast<uint32_t>(type));
    std::vector<std::byte> bytes(n_rows * row_bytes(info, n_cols));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
    for (uint64_t at = 0; at < bytes.size(); at += info.block_bytes) {
      std::byte* block = bytes.data() + at;
      switch (type) {
        case QuantType::kF32: {
          const auto x = static_cast<float>(mean + deviation * normal());
          std::memcpy(block, &x, 4);
          break;
        }
        case QuantType::kF16: {
          const double x = deviation * normal();
          put_half(block, std::copysign(std::max(std::abs(x), 6.2e-5), x));
          break;
        }
        case QuantType::kQ4_0:
          put_half(block, deviation / 4.6);
          break;
        case QuantType::kQ8_0:
          put_half(block, deviation / 74);
          break;
        case QuantType::kQ4_K:
        case QuantType::kQ5_K: {
          const double levels = type == QuantType::kQ4_K ? 15 : 31;
          put_half(block, deviation / (14.0 * levels));
          put_half(block + 2, deviation / 28);
          break;
        }
        case QuantType::kQ6_K:
          put_half(block + 208, std::max(deviation / 1400, 6.2e-5));
          break;
        default:
          CHECK(false);
      }
    }
    return bytes;
  }

  // --- tables ---
  // Appends bytes to the file at the model's alignment and describes them by one extent.
  void add_extent(QuantType type, const std::byte* bytes, uint64_t size) {
    file.resize(align_up(file.size() + 1 + random_() % 200, shape_.alignment_bytes));
    if (shape_.alignment_bytes == 1 && file.size() % 2 == 0) file.resize(file.size() + 1);
    extents.push_back({.file = 0,
                       .type = static_cast<uint32_t>(type),
                       .offset_bytes = file.size(),
                       .size_bytes = size});
    file.insert(file.end(), bytes, bytes + size);
  }
  uint32_t add_block(scheduler::BlockKind kind, uint16_t layer, uint16_t expert, uint8_t n_extents,
                     uint32_t row_begin, uint32_t row_count) {
    blocks.push_back({.tensor = static_cast<uint32_t>(tensors.size()),
                      .layer = layer,
                      .expert = expert,
                      .kind = kind,
                      .n_extents = n_extents,
                      .reserved = 0,
                      .first_extent = static_cast<uint32_t>(extents.size()),
                      .row_begin = row_begin,
                      .row_count = row_count});
    return static_cast<uint32_t>(blocks.size() - 1);
  }
  void remember(TensorRole role, uint16_t layer, uint32_t expert, QuantType type,
                const std::vector<std::byte>& bytes, uint32_t n_rows, uint32_t n_cols) {
    const kernels::QuantTypeInfo& info = *kernels::find_quant_type(static_cast<uint32_t>(type));
    const auto dequantize = kernels::runnable_kernel_sets()[0]->dequantize(type);
    std::vector<float> row(n_cols);
    std::vector<double>& values = values_[{role, layer, expert}];
    for (uint32_t r = 0; r < n_rows; ++r) {
      dequantize(bytes.data() + r * row_bytes(info, n_cols), n_cols, row.data());
      values.insert(values.end(), row.begin(), row.end());
    }
  }

  // A tensor of the trunk: one block.
  void trunk(TensorRole role, uint16_t layer, QuantType type, uint32_t n_rows, uint32_t n_cols,
             double deviation, double mean) {
    const std::vector<std::byte> bytes = random_bytes(type, n_rows, n_cols, deviation, mean);
    remember(role, layer, 0, type, bytes, n_rows, n_cols);
    const uint32_t block = add_block(scheduler::BlockKind::kTrunk, layer, 0, 1, 0, 0);
    add_extent(type, bytes.data(), bytes.size());
    tensors.push_back({role, layer, static_cast<uint32_t>(type), n_rows, n_cols, block, 1});
  }
  void norm(TensorRole role, uint16_t layer, uint32_t n) {
    trunk(role, layer, QuantType::kF32, 1, n, 0.1, 1);
  }
  void bias(TensorRole role, uint16_t layer, uint32_t n) {
    if (wants(role)) trunk(role, layer, QuantType::kF32, 1, n, 0.3, 0);
  }

  // A matrix cut into bands of the given kind.
  void matrix(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols, double deviation,
              scheduler::BlockKind kind, uint32_t rows_per_band) {
    const QuantType type = type_of(role);
    const uint64_t bytes_per_row =
        row_bytes(*kernels::find_quant_type(static_cast<uint32_t>(type)), n_cols);
    const std::vector<std::byte> bytes = random_bytes(type, n_rows, n_cols, deviation, 0);
    remember(role, layer, 0, type, bytes, n_rows, n_cols);
    const auto first = static_cast<uint32_t>(blocks.size());
    for (uint32_t row = 0; row < n_rows; row += rows_per_band) {
      const uint32_t count = std::min(rows_per_band, n_rows - row);
      const uint32_t block = add_block(kind, layer, 0, 1, row, count);
      if (kind == scheduler::BlockKind::kBand) band_ids_.push_back(BlockId{block});
      add_extent(type, bytes.data() + row * bytes_per_row, count * bytes_per_row);
    }
    tensors.push_back({role, layer, static_cast<uint32_t>(type), n_rows, n_cols, first,
                       static_cast<uint32_t>(blocks.size()) - first});
  }
  void band_matrix(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols) {
    matrix(role, layer, n_rows, n_cols, 1.0 / std::sqrt(n_cols), scheduler::BlockKind::kBand,
           shape_.rows_per_band);
  }

  void vectors() {
    const ModelSpec& s = shape_.spec;
    for (uint16_t layer = 0; layer < s.n_layer; ++layer) {
      norm(TensorRole::kAttentionNorm, layer, s.n_embd);
      bias(TensorRole::kQueryBias, layer, s.n_head * s.head_dim_k);
      bias(TensorRole::kKeyBias, layer, s.n_head_kv * s.head_dim_k);
      bias(TensorRole::kValueBias, layer, s.n_head_kv * s.head_dim_v);
      bias(TensorRole::kAttentionOutputBias, layer, s.n_embd);
      if (s.qk_norm != QkNorm::kNone) {
        const bool row = s.qk_norm == QkNorm::kWholeRow;
        norm(TensorRole::kQueryNorm, layer, s.head_dim_k * (row ? s.n_head : 1));
        norm(TensorRole::kKeyNorm, layer, s.head_dim_k * (row ? s.n_head_kv : 1));
      }
      if (wants(TensorRole::kAttentionPostNorm))
        norm(TensorRole::kAttentionPostNorm, layer, s.n_embd);
      norm(TensorRole::kFfnNorm, layer, s.n_embd);
      if (wants(TensorRole::kFfnPostNorm)) norm(TensorRole::kFfnPostNorm, layer, s.n_embd);
      if (s.n_expert == 0 || layer < s.n_layer_dense_lead) {
        bias(TensorRole::kFfnGateBias, layer, s.n_ff);
        bias(TensorRole::kFfnUpBias, layer, s.n_ff);
        bias(TensorRole::kFfnDownBias, layer, s.n_embd);
        continue;
      }
      trunk(TensorRole::kRouter, layer, type_of(TensorRole::kRouter), s.n_expert, s.n_embd, 0.15,
            0);
      bias(TensorRole::kRouterSelectionBias, layer, s.n_expert);
      if (wants(TensorRole::kSharedRouter))
        trunk(TensorRole::kSharedRouter, layer, type_of(TensorRole::kSharedRouter), 1, s.n_embd,
              0.1, 0);
    }
    norm(TensorRole::kOutputNorm, kNoLayer, s.n_embd);
    bias(TensorRole::kOutputBias, kNoLayer, s.n_vocab);
  }

  void row_bands() {
    matrix(TensorRole::kTokenEmbedding, kNoLayer, shape_.spec.n_vocab, shape_.spec.n_embd, 1.0,
           scheduler::BlockKind::kRowBand, kRowsPerRowBand);
  }

  void bands() {
    const ModelSpec& s = shape_.spec;
    for (uint16_t layer = 0; layer < s.n_layer; ++layer) {
      band_matrix(TensorRole::kQuery, layer, s.n_head * s.head_dim_k, s.n_embd);
      band_matrix(TensorRole::kKey, layer, s.n_head_kv * s.head_dim_k, s.n_embd);
      band_matrix(TensorRole::kValue, layer, s.n_head_kv * s.head_dim_v, s.n_embd);
      band_matrix(TensorRole::kAttentionOutput, layer, s.n_embd, s.n_head * s.head_dim_v);
      if (s.n_expert == 0 || layer < s.n_layer_dense_lead) {
        band_matrix(TensorRole::kFfnGate, layer, s.n_ff, s.n_embd);
        band_matrix(TensorRole::kFfnUp, layer, s.n_ff, s.n_embd);
        band_matrix(TensorRole::kFfnDown, layer, s.n_embd, s.n_ff);
      } else if (s.n_ff_shared > 0) {
        band_matrix(TensorRole::kSharedGate, layer, s.n_ff_shared, s.n_embd);
        band_matrix(TensorRole::kSharedUp, layer, s.n_ff_shared, s.n_embd);
        band_matrix(TensorRole::kSharedDown, layer, s.n_embd, s.n_ff_shared);
      }
    }
    first_head_band = BlockId{static_cast<uint32_t>(blocks.size())};
    band_matrix(TensorRole::kOutput, kNoLayer, s.n_vocab, s.n_embd);
  }

  void experts(uint16_t layer) {
    const ModelSpec& s = shape_.spec;
    const auto first = static_cast<uint32_t>(blocks.size());
    const uint32_t n_gate = s.n_ff_expert * (shape_.fused_gate_up ? 2 : 1);
    std::vector<TensorRole> roles{TensorRole::kExpertGate, TensorRole::kExpertUp,
                                  TensorRole::kExpertDown};
    if (shape_.fused_gate_up) roles = {TensorRole::kExpertGateUp, TensorRole::kExpertDown};
    const auto rows = [&](TensorRole role) {
      return role == TensorRole::kExpertDown ? s.n_embd : n_gate;
    };
    const auto cols = [&](TensorRole role) {
      return role == TensorRole::kExpertDown ? s.n_ff_expert : s.n_embd;
    };
    for (uint32_t e = 0; e < s.n_expert; ++e) {
      add_block(scheduler::BlockKind::kExpert, layer, static_cast<uint16_t>(e),
                static_cast<uint8_t>(roles.size()), 0, 0);
      for (const TensorRole role : roles) {
        const QuantType type = type_of(role, e);
        const std::vector<std::byte> bytes =
            random_bytes(type, rows(role), cols(role), 1.0 / std::sqrt(cols(role)), 0);
        remember(role, layer, e, type, bytes, rows(role), cols(role));
        add_extent(type, bytes.data(), bytes.size());
      }
    }
    for (const TensorRole role : roles)
      tensors.push_back({role, layer, static_cast<uint32_t>(type_of(role)), rows(role), cols(role),
                         first, s.n_expert});
  }

  TinyShape shape_;
  std::mt19937_64 random_;
  std::vector<BlockId> band_ids_;
  std::map<std::tuple<TensorRole, uint16_t, uint32_t>, std::vector<double>> values_;
};

}  // namespace hypura::model
