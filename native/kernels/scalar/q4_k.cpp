// Q4_K: w = d sc_j q - dmin m_j, eight sub-blocks of 32. Bytes 32 g .. 32 g + 31 hold sub-block 2 g
// in the low nibbles and 2 g + 1 in the high ones.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/k_rows.h"
#include "native/kernels/scalar/scalar.h"
#include "native/kernels/scalar/scales_6bit.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ4K& block, UnpackedK& w) {
  w.d = read_half(block.d);
  w.dmin = read_half(block.dmin);
  unpack_scales_6bit(block.scales, w.scale, w.min);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint8_t byte = block.low[i / 64 * 32 + i % 32];
    w.q[i] = static_cast<int8_t>(i / 32 % 2 == 0 ? byte & 15 : byte >> 4);
  }
}

}  // namespace

void matmul_q4_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<BlockQ4K, unpack, true>(weights, n_cols, rows, activations, activation_stride,
                                   n_positions, out, out_stride);
}

void dequantize_q4_k(const void* row, uint32_t n_cols, float* out) {
  dequantize_k<BlockQ4K, unpack, true>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
