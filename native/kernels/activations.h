// Activation vectors as the matmul kernels read them: one struct per 256 elements, a multiple of 64
// bytes.
//
// Holds always: q is in -127..127, never -128 (the AVX2 kernels rely on it); elements past n_cols
// are zero in every field; a vector with a NaN or an infinity is all zero and was reported by
// quantize().
// Rounding is half to even in both forms:
//   A256  inv = 127 / amax          q = round(x inv)      d = 1 / inv
//   A32   d = amax / 127            q = round(x (1 / d))  d is then rounded to binary16 and widened
// A block whose inverse would not be finite (amax of 0 or about 1e-37) is all zero. An A32 scale
// too large for binary16 (amax above 8.3e6) is refused like a NaN. Form F32 is the vector itself,
// with zeros to the next 64 bytes.
// Included by ISA files: plain structs only, no functions.
#pragma once

#include <cstdint>

namespace hypura::kernels {

// For K-quants: 256 elements with one scale.
struct alignas(64) ActivationA256 {
  float d;
  int16_t sum32[8];   // sums of 32 elements of q
  int16_t sum16[16];  // sums of 16
  uint8_t pad[12];    // zero: vectors compare by bytes
  int8_t q[256];
};
static_assert(sizeof(ActivationA256) == 320);

// For the 32-weight types: eight blocks of 32 elements, each with its scale. Eight, because rule E3
// adds eight at a time.
struct alignas(64) ActivationA32 {
  float d[8];
  int32_t sum[8];
  int8_t q[8][32];
};
static_assert(sizeof(ActivationA32) == 320);

}  // namespace hypura::kernels
