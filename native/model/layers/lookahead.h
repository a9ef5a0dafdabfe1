// Which experts the next layer will probably choose: its router, applied before its turn; or, where the plan says so, what its table
// says follows (native/scheduler/followers.h), which knows nothing of the stream and costs nothing.
//
// The residual stream changes little from one layer to the next, so the next router's choice for today's stream is mostly
// the one it will make (Eliseev and Mazur 2023, "Fast Inference of Mixture-of-Experts Language Models with Offloading").
// The guess goes to the cache and nowhere else: it cannot change a result.
#pragma once

#include "native/model/layers/projection.h"

namespace hypura::model {

// Names candidates of `next`, a mixture layer, to the cache, if it wants any; for sweeps of one position.
// Called after this layer's experts were asked for. Reads row 0 of scratch.x. Overwrites scratch.gathered, scratch.router, scratch.selection and scratch.blocks.
void guess_experts(const Sweep& sweep, const LayerWeights& next);

}  // namespace hypura::model
