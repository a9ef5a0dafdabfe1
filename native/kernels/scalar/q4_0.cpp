// Q4_0: 32 nibbles with offset 8. w = d (q - 8); byte i holds weights i and i + 16.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/rows_32.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ4_0& block, Unpacked32& w) {
  w.d = read_half(block.d);
  for (uint32_t i = 0; i < 16; ++i) {
    w.q[i] = static_cast<int8_t>((block.low[i] & 15) - 8);
    w.q[i + 16] = static_cast<int8_t>((block.low[i] >> 4) - 8);
  }
}

}  // namespace

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<BlockQ4_0, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                      n_positions, out, out_stride);
}

void dequantize_q4_0(const void* row, uint32_t n_cols, float* out) {
  dequantize_32<BlockQ4_0, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
