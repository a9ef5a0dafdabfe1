// The frame of the K-quants: rows of 256-weight blocks times A256 activations, and dequantisation.
//
// Every K-quant unpacks to sixteen sub-blocks of 16 signed weights:
//   w = d * scale_j * q - dmin * min_j
// Exact (E1): isum = sum_j scale_j (q . a) and msum = sum_j min_j * (sum of a) are int32 for any
// bytes in the file. Then (E2), blocks ascending from acc = +0, the second line with mins only:
//   acc = fma(d * d_a, float(isum), acc)
//   acc = fma(-(dmin * d_a), float(msum), acc)
// dequantize: (d * scale_j) * q, with mins minus dmin * min_j, each operation rounded.
#pragma once

#include <cmath>
#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::scalar {

struct UnpackedK {
  float d;
  float dmin;
  int16_t scale[16];
  int16_t min[16];
  int8_t q[256];
};

// Unpack fills d, scale and q; with mins also dmin and min.
template <typename Block, void (*kUnpack)(const Block&, UnpackedK&), bool kMins>
void matmul_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
              uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 256;
  UnpackedK w;
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    const Block* row = static_cast<const Block*>(weights) + uint64_t{r} * n_blocks;
    for (uint32_t p = 0; p < n_positions; ++p) out[p * out_stride + r] = 0;
    for (uint32_t b = 0; b < n_blocks; ++b) {
      kUnpack(row[b], w);
      for (uint32_t p = 0; p < n_positions; ++p) {
        const ActivationA256& a = reinterpret_cast<const ActivationA256*>(
            static_cast<const uint8_t*>(activations) + p * activation_stride)[b];
        int32_t isum = 0, msum = 0;
        for (uint32_t j = 0; j < 16; ++j) {
          int32_t dot = 0;
          for (uint32_t i = 16 * j; i < 16 * j + 16; ++i) dot += w.q[i] * a.q[i];
          isum += w.scale[j] * dot;
          if constexpr (kMins) msum += w.min[j] * a.sum16[j];
        }
        float& acc = out[p * out_stride + r];
        acc = std::fma(w.d * a.d, static_cast<float>(isum), acc);
        if constexpr (kMins) acc = std::fma(-(w.dmin * a.d), static_cast<float>(msum), acc);
      }
    }
  }
}

template <typename Block, void (*kUnpack)(const Block&, UnpackedK&), bool kMins>
void dequantize_k(const void* row, uint32_t n_cols, float* out) {
  UnpackedK w;
  for (uint32_t b = 0; b < n_cols / 256; ++b, out += 256) {
    kUnpack(static_cast<const Block*>(row)[b], w);
    for (uint32_t i = 0; i < 256; ++i) {
      out[i] = w.d * static_cast<float>(w.scale[i / 16]) * static_cast<float>(w.q[i]);
      if constexpr (kMins) out[i] -= w.dmin * static_cast<float>(w.min[i / 16]);
    }
  }
}

}  // namespace hypura::kernels::scalar
