// MXFP4: 32 floats of four bits (sign, two of exponent, one of mantissa) under a power of two.
// w = 2^(e - 128) value[nibble], values doubled to be whole; nibbles as in Q4_0.
//
// The scale is finite for every e: 2^-128 and 2^-127 are subnormal, 2^127 is the largest. The format
// of the Open Compute Project calls e = 255 a NaN; ggml, whose files these are, does not.
// Source: OCP Microscaling Formats 1.0 (2023); ggml, block_mxfp4.
#include <bit>

#include "native/kernels/blocks.h"
#include "native/kernels/scalar/rows_32.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

constexpr int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// 2^(e - 128)
float power(uint32_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

void unpack(const BlockMXFP4& block, Unpacked32& w) {
  w.d = power(block.e);
  for (uint32_t i = 0; i < 16; ++i) {
    w.q[i] = kValues[block.low[i] & 15];
    w.q[i + 16] = kValues[block.low[i] >> 4];
  }
}

}  // namespace

void matmul_mxfp4(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                  uint64_t activation_stride, uint32_t n_positions, float* out,
                  uint64_t out_stride) {
  matmul_32<BlockMXFP4, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                       n_positions, out, out_stride);
}

void dequantize_mxfp4(const void* row, uint32_t n_cols, float* out) {
  dequantize_32<BlockMXFP4, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
