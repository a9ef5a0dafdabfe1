// Rule E4: the one order in which floats are summed. Sixteen lanes, element i in lane i mod 16,
// ascending, then folded.
#pragma once

#include <cmath>
#include <cstdint>

namespace hypura::kernels::scalar {

struct Lanes {
  float lane[16] = {};

  void fma(uint32_t i, float a, float b) { lane[i % 16] = std::fma(a, b, lane[i % 16]); }
  void add(uint32_t i, float a) { lane[i % 16] += a; }
  float fold() {
    for (uint32_t half = 8; half > 0; half /= 2)
      for (uint32_t i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
  }
};

}  // namespace hypura::kernels::scalar
