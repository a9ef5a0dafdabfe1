// Attention proper: queries times keys times values, between what the layer projects before and after it.
#pragma once

#include <cstdint>

#include "native/model/layers/projection.h"

namespace hypura::model {

// attention_out = attention(q) over the keys in the cache, for all entries. K and V of the batch's own positions are in
// the cache already.
void attend_tiles(const Sweep& sweep, uint16_t layer);

}  // namespace hypura::model
