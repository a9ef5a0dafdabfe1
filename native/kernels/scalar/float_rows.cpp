// F32, F16 and BF16 rows times float activations: each weight is widened exactly, then rule E4.
#include <cstring>

#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/lanes.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

float same(float value) { return value; }

template <typename Stored, float (*kWiden)(Stored)>
float weight_at(const void* row, uint64_t i) {
  Stored stored;
  std::memcpy(&stored, static_cast<const uint8_t*>(row) + i * sizeof(Stored), sizeof(Stored));
  return kWiden(stored);
}

template <typename Stored, float (*kWiden)(Stored)>
void matmul_float(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                  uint64_t activation_stride, uint32_t n_positions, float* out,
                  uint64_t out_stride) {
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    const void* row = static_cast<const uint8_t*>(weights) + uint64_t{r} * n_cols * sizeof(Stored);
    for (uint32_t p = 0; p < n_positions; ++p) {
      const float* x = reinterpret_cast<const float*>(static_cast<const uint8_t*>(activations) +
                                                      p * activation_stride);
      Lanes lanes;
      for (uint32_t i = 0; i < n_cols; ++i) lanes.fma(i, weight_at<Stored, kWiden>(row, i), x[i]);
      out[p * out_stride + r] = lanes.fold();
    }
  }
}

template <typename Stored, float (*kWiden)(Stored)>
void dequantize_float(const void* row, uint32_t n_cols, float* out) {
  for (uint32_t i = 0; i < n_cols; ++i) out[i] = weight_at<Stored, kWiden>(row, i);
}

}  // namespace

void matmul_f32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<float, same>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                            out_stride);
}
void matmul_f16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  matmul_float<uint16_t, half_to_float>(weights, n_cols, rows, activations, activation_stride,
                                        n_positions, out, out_stride);
}
void matmul_bf16(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_float<uint16_t, bf16_to_float>(weights, n_cols, rows, activations, activation_stride,
                                        n_positions, out, out_stride);
}

void dequantize_f32(const void* row, uint32_t n_cols, float* out) {
  dequantize_float<float, same>(row, n_cols, out);
}
void dequantize_f16(const void* row, uint32_t n_cols, float* out) {
  dequantize_float<uint16_t, half_to_float>(row, n_cols, out);
}
void dequantize_bf16(const void* row, uint32_t n_cols, float* out) {
  dequantize_float<uint16_t, bf16_to_float>(row, n_cols, out);
}

}  // namespace hypura::kernels::scalar
