// e^x with a fixed polynomial and a fixed order of fma: the same bits as avx2/exp8.h (rule E8).
//
// x = n ln 2 + r with |r| <= ln 2 / 2. e^r = 1 + r + r^2 g(r), g of degree 4, fitted by a minimax
// search of our own (relative error 3.1e-9); the result is within 1.01 ulp. 2^n is applied in two
// exact halves, so that subnormal results round once. -inf gives 0, +inf and x > 88.73 give +inf,
// NaN stays NaN.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace hypura::kernels::scalar {

inline float exp_f32(float x) {
  x = -104.0f > x ? -104.0f : x;  // e^-104 is less than half the smallest subnormal
  x = 89.0f < x ? 89.0f : x;
  constexpr float kRound =
      12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = std::fma(x, 0x1.715476p+0f, kRound);
  const float n = shifted - kRound;
  float r = std::fma(-n, 0.693145751953125f, x);  // ln 2 = 0.693145751953125 + 0x1.7f7d1cp-20
  r = std::fma(-n, 0x1.7f7d1cp-20f, r);
  float g = 0x1.6a23dp-10f;
  g = std::fma(g, r, 0x1.123a2p-7f);
  g = std::fma(g, r, 0x1.5558f2p-5f);
  g = std::fma(g, r, 0x1.555492p-3f);
  g = std::fma(g, r, 0x1.fffffcp-2f);
  const float p = std::fma(g, r * r, r) + 1.0f;
  // Unsigned throughout: for NaN the power is garbage, and the product is NaN whatever it is.
  const uint32_t power = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kRound);
  const uint32_t first = static_cast<uint32_t>(static_cast<int32_t>(power) >> 1);
  const float scale_first = std::bit_cast<float>((first + 127) << 23);
  const float scale_rest = std::bit_cast<float>((power - first + 127) << 23);
  return p * scale_first * scale_rest;
}

}  // namespace hypura::kernels::scalar
