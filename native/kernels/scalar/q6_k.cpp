// Q6_K: w = d sc_j (q - 32), sixteen sub-blocks of 16 with signed scales. Two halves of 128
// weights, each with 64 low and 32 high bytes: weight 32 g + l takes a nibble of low byte 32 (g mod
// 2) + l and two bits of high byte l at bit 2 g.
#include "native/kernels/blocks.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/k_rows.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

void unpack(const BlockQ6K& block, UnpackedK& w) {
  w.d = read_half(block.d);
  for (uint32_t j = 0; j < 16; ++j) w.scale[j] = block.scales[j];
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128, g = i % 128 / 32, l = i % 32;
    const uint8_t byte = block.low[64 * half + 32 * (g % 2) + l];
    const int low = g < 2 ? byte & 15 : byte >> 4;
    const int high = block.high[32 * half + l] >> 2 * g & 3;
    w.q[i] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

}  // namespace

void matmul_q6_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<BlockQ6K, unpack, false>(weights, n_cols, rows, activations, activation_stride,
                                    n_positions, out, out_stride);
}

void dequantize_q6_k(const void* row, uint32_t n_cols, float* out) {
  dequantize_k<BlockQ6K, unpack, false>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
