// The gated feed-forward network: dense layers, the shared expert, and the middle of every expert.
#pragma once

#include <cstdint>

#include "native/base/status.h"
#include "native/model/layers/projection.h"

namespace hypura::model {

// scratch.mid.row(form, i) = activation(gate row i) * up row i, for each form of the set; gate is overwritten.
//   scratch.gate, scratch.up (n_rows, n_cols), n_cols apart
Status activate(const Sweep& sweep, uint32_t n_rows, uint32_t n_cols, FormSet forms,
                uint16_t layer);

// scratch.block_out = down(activation(gate(input)) * up(input)) of all entries, with the biases there are.
// scratch.input holds the normed input in the forms of gate and up. Errors: kNonFinite; what the cache returns.
Status feed_forward(const Sweep& sweep, const FfnWeights& weights, uint16_t layer);

// A dense layer: x += residual_scale * feed_forward(norm(x)).
Status feed_forward_dense(const Sweep& sweep, const LayerWeights& weights, uint16_t layer);

}  // namespace hypura::model
