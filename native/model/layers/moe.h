// The mixture layer: route all positions, ask for the union of their experts once, compute them in order of arrival.
//
// Why arrival order cannot change a bit: each (position, rank) has a row of its own, and rows are added in rank order when
// all are there (E7). An expert computes all of its positions at once, so its bytes are read once per sweep.
#pragma once

#include <cstdint>

#include "native/base/status.h"
#include "native/model/layers/projection.h"

namespace hypura::model {

// x += residual_scale * (shared expert + sum of weight * expert), of norm(x). The shared expert is computed while absent
// experts are read. Errors: kNonFinite naming the layer; what the cache returns.
//   next: the mixture layer that follows, whose experts are guessed meanwhile; null when there is none
Status feed_forward_mixture(const Sweep& sweep, const LayerWeights& weights, uint16_t layer,
                            const LayerWeights* next);

}  // namespace hypura::model
