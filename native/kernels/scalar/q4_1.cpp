// Q4_1: 32 nibbles with a minimum. w = d q + m; byte i holds weights i and i + 16.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/rows_32.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ4_1& block, Unpacked32& w) {
  w.d = read_half(block.d);
  w.m = read_half(block.m);
  for (uint32_t i = 0; i < 16; ++i) {
    w.q[i] = static_cast<int8_t>(block.low[i] & 15);
    w.q[i + 16] = static_cast<int8_t>(block.low[i] >> 4);
  }
}

}  // namespace

void matmul_q4_1(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<BlockQ4_1, unpack, true>(weights, n_cols, rows, activations, activation_stride,
                                     n_positions, out, out_stride);
}

void dequantize_q4_1(const void* row, uint32_t n_cols, float* out) {
  dequantize_32<BlockQ4_1, unpack, true>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
