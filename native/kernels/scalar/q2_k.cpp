// Q2_K: w = d sc_j q - dmin m_j, sixteen sub-blocks of 16, scale and min of four bits each. In each
// half of 128 weights, weight 32 g + l is the two bits of byte l at bit 2 g.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/k_rows.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ2K& block, UnpackedK& w) {
  w.d = read_half(block.d);
  w.dmin = read_half(block.dmin);
  for (uint32_t j = 0; j < 16; ++j) {
    w.scale[j] = block.scales[j] & 15;
    w.min[j] = block.scales[j] >> 4;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128, g = i % 128 / 32, l = i % 32;
    w.q[i] = static_cast<int8_t>(block.low[32 * half + l] >> 2 * g & 3);
  }
}

}  // namespace

void matmul_q2_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<BlockQ2K, unpack, true>(weights, n_cols, rows, activations, activation_stride,
                                   n_positions, out, out_stride);
}

void dequantize_q2_k(const void* row, uint32_t n_cols, float* out) {
  dequantize_k<BlockQ2K, unpack, true>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
