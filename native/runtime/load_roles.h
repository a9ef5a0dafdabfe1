// Which tensors a model of a given shape has, and what each looks like: the table that check_tensors() compares with.
//
// A new role is one line here. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "native/model/model_spec.h"
#include "native/scheduler/block_table.h"

namespace hypura::runtime {

enum class RoleScope : uint8_t { kModel, kEveryLayer, kDenseLayers, kMixtureLayers };

struct RoleRule {
  model::TensorRole role;
  const char* name;
  RoleScope scope;
  scheduler::BlockKind kind;
  bool required;
  uint64_t rows;  // 1 for vectors; per expert for expert tensors
  uint64_t cols;

  // layer: 0 .. n_layer - 1, or kNoLayer for the model's own.
  bool applies(const model::ModelSpec& spec, uint32_t layer) const;
};

// Ascending roles; inside a layer this is the order in which bands are used. The spec was checked: no product wraps.
std::vector<RoleRule> rules_for(const model::ModelSpec& spec, bool fused_experts);

}  // namespace hypura::runtime
