// The choice of experts for one position, from the router's products.
//
// Ties go to the lower index and sums run in rank order, so the choice is a pure function of the products.
// Thread-safe.   Allocates: never.
#pragma once

#include <cstdint>

#include "native/kernels/kernel_set.h"
#include "native/model/model_spec.h"

namespace hypura::model {

// logits (n_expert), overwritten      selection_bias (n_expert) or null: counts for the choice, not for the weight
// selection (n_expert): scratch       chosen, weights (n_expert_used): best first
// False when the products are not finite: nothing is chosen then.
bool choose_experts(const ModelSpec& spec, const kernels::KernelSet& kernels, float* logits,
                    const float* selection_bias, float* selection, uint16_t* chosen,
                    float* weights);

}  // namespace hypura::model
