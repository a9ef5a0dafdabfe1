// Q3_K: w = d (sc_j - 32) (q - 4), sixteen sub-blocks of 16. Two low bits as in Q2_K; the third is
// bit 4 half + g of high byte l. Scales are six bits: four in nibble j of the first eight bytes (j
// >= 8: high nibbles), two in byte 8 + j mod 4 at bit 2 (j / 4).
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/k_rows.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ3K& block, UnpackedK& w) {
  w.d = read_half(block.d);
  for (uint32_t j = 0; j < 16; ++j) {
    const int low = j < 8 ? block.scales[j] & 15 : block.scales[j - 8] >> 4;
    const int high = block.scales[8 + j % 4] >> 2 * (j / 4) & 3;
    w.scale[j] = static_cast<int16_t>((low | high << 4) - 32);
  }
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128, g = i % 128 / 32, l = i % 32;
    const int low = block.low[32 * half + l] >> 2 * g & 3;
    const int high = block.high[l] >> (4 * half + g) & 1;
    w.q[i] = static_cast<int8_t>(low + 4 * high - 4);
  }
}

}  // namespace

void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<BlockQ3K, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                    n_positions, out, out_stride);
}

void dequantize_q3_k(const void* row, uint32_t n_cols, float* out) {
  dequantize_k<BlockQ3K, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
