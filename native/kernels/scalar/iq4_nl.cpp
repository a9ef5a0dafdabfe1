// IQ4_NL: 32 nibbles into a table. w = d value[nibble]; nibbles as in Q4_0.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/iq4_values.h"
#include "native/kernels/scalar/rows_32.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockIQ4NL& block, Unpacked32& w) {
  w.d = read_half(block.d);
  for (uint32_t i = 0; i < 16; ++i) {
    w.q[i] = kIq4Values[block.low[i] & 15];
    w.q[i + 16] = kIq4Values[block.low[i] >> 4];
  }
}

}  // namespace

void matmul_iq4_nl(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t activation_stride, uint32_t n_positions, float* out,
                   uint64_t out_stride) {
  matmul_32<BlockIQ4NL, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                       n_positions, out, out_stride);
}

void dequantize_iq4_nl(const void* row, uint32_t n_cols, float* out) {
  dequantize_32<BlockIQ4NL, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
