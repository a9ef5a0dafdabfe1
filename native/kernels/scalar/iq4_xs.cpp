// IQ4_XS: w = d (sc_j - 32) value[nibble], eight sub-blocks of 32 whose nibbles lie as in IQ4_NL,
// sixteen bytes each. Scales are six bits: four in nibble j of the low bytes, two at bit 2 j of the
// high word. |isum| is at most 256 * 32 * 127 * 127 = 132,128,768.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/iq4_values.h"
#include "native/kernels/scalar/k_rows.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockIQ4XS& block, UnpackedK& w) {
  w.d = read_half(block.d);
  const uint32_t high = read_u16(block.scales_high);
  for (uint32_t j = 0; j < 8; ++j) {
    const uint32_t low = block.scales_low[j / 2] >> 4 * (j % 2) & 15;
    // The frame's sub-blocks are of 16.
    w.scale[2 * j] = static_cast<int16_t>(static_cast<int>(low | (high >> 2 * j & 3) << 4) - 32);
    w.scale[2 * j + 1] = w.scale[2 * j];
    for (uint32_t i = 0; i < 16; ++i) {
      const uint8_t byte = block.low[16 * j + i];
      w.q[32 * j + i] = kIq4Values[byte & 15];
      w.q[32 * j + 16 + i] = kIq4Values[byte >> 4];
    }
  }
}

}  // namespace

void matmul_iq4_xs(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                   uint64_t activation_stride, uint32_t n_positions, float* out,
                   uint64_t out_stride) {
  matmul_k<BlockIQ4XS, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                      n_positions, out, out_stride);
}

void dequantize_iq4_xs(const void* row, uint32_t n_cols, float* out) {
  dequantize_k<BlockIQ4XS, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
