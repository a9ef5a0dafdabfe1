// The sixteen values of IQ4_NL and IQ4_XS (scalar/iq4_values.h). Internal linkage (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

#include "native/kernels/neon_dotprod/lanes.h"

namespace hypura::kernels::neon_dotprod {
namespace {

inline Weights32 table_values(int8x16_t table, Weights32 nibbles) {
  return {vqtbl1q_s8(table, vreinterpretq_u8_s8(nibbles.first)),
          vqtbl1q_s8(table, vreinterpretq_u8_s8(nibbles.second))};
}

inline Weights32 iq4_values(Weights32 nibbles) {
  return table_values(int8x16_t{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
                      nibbles);
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
