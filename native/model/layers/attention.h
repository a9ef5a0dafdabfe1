// Grouped-query attention of one layer, for all positions of a sweep.
#pragma once

#include <cstdint>

#include "native/base/status.h"
#include "native/model/layers/projection.h"

namespace hypura::model {

// x += residual_scale * attention(norm(x)); K and V of the batch's positions enter the KV cache.
// Errors: kNonFinite naming the layer; what the cache returns.
Status attend(const Sweep& sweep, const AttentionWeights& weights, uint16_t layer);

}  // namespace hypura::model
