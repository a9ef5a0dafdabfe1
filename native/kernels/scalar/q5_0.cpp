// Q5_0: 32 five-bit weights with offset 16. w = d (q - 16); nibbles as in Q4_0, fifth bits in one
// 32-bit word.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/rows_32.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ5_0& block, Unpacked32& w) {
  w.d = read_half(block.d);
  for (uint32_t i = 0; i < 16; ++i) {
    const int high_first = block.high[i / 8] >> (i % 8) & 1;
    const int high_second = block.high[2 + i / 8] >> (i % 8) & 1;
    w.q[i] = static_cast<int8_t>(((block.low[i] & 15) | high_first << 4) - 16);
    w.q[i + 16] = static_cast<int8_t>((block.low[i] >> 4 | high_second << 4) - 16);
  }
}

}  // namespace

void matmul_q5_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<BlockQ5_0, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                      n_positions, out, out_stride);
}

void dequantize_q5_0(const void* row, uint32_t n_cols, float* out) {
  dequantize_32<BlockQ5_0, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
