// The frame of the 32-weight types: rows of 32-weight blocks times A32 activations, and
// dequantisation.
//
// Every one unpacks to 32 signed weights: w = d * q, with mins w = d * q + m.
// Exact (E1): isum = q . a is int32. Then (E3), in groups of eight blocks, missing ones +0:
//   t_k = (d * d_a) * float(isum_k)
//   t_k = fma(d * d_a, float(isum_k), m * (d_a * float(sum of a)))   in types with a minimum m
//   acc = acc + (((t0 + t1) + (t2 + t3)) + ((t4 + t5) + (t6 + t7))), from +0
// dequantize: d * q, with mins (d * q) + m, each operation rounded.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "native/kernels/activations.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels::scalar {

struct Unpacked32 {
  float d;
  float m;
  int8_t q[32];
};

// Unpack fills d and q; with mins also m.
template <typename Block, void (*kUnpack)(const Block&, Unpacked32&), bool kMins>
void matmul_32(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
               uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride) {
  const uint32_t n_blocks = n_cols / 32;
  Unpacked32 w[8];
  for (uint32_t r = rows.begin; r < rows.end; ++r) {
    const Block* row = static_cast<const Block*>(weights) + uint64_t{r} * n_blocks;
    for (uint32_t p = 0; p < n_positions; ++p) out[p * out_stride + r] = 0;
    for (uint32_t b = 0; b < n_blocks; b += 8) {
      const uint32_t present = std::min(8u, n_blocks - b);
      for (uint32_t k = 0; k < present; ++k) kUnpack(row[b + k], w[k]);
      for (uint32_t p = 0; p < n_positions; ++p) {
        const ActivationA32& a = reinterpret_cast<const ActivationA32*>(
            static_cast<const uint8_t*>(activations) + p * activation_stride)[b / 8];
        float t[8] = {};
        for (uint32_t k = 0; k < present; ++k) {
          int32_t isum = 0;
          for (uint32_t i = 0; i < 32; ++i) isum += w[k].q[i] * a.q[k][i];
          const float d = w[k].d * a.d[k];
          if constexpr (kMins) {
            const float offset = w[k].m * (a.d[k] * static_cast<float>(a.sum[k]));
            t[k] = std::fma(d, static_cast<float>(isum), offset);
          } else {
            t[k] = d * static_cast<float>(isum);
          }
        }
        out[p * out_stride + r] +=
            ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7]));
      }
    }
  }
}

template <typename Block, void (*kUnpack)(const Block&, Unpacked32&), bool kMins>
void dequantize_32(const void* row, uint32_t n_cols, float* out) {
  Unpacked32 w;
  for (uint32_t b = 0; b < n_cols / 32; ++b, out += 32) {
    kUnpack(static_cast<const Block*>(row)[b], w);
    for (uint32_t i = 0; i < 32; ++i) {
      out[i] = w.d * static_cast<float>(w.q[i]);
      if constexpr (kMins) out[i] += w.m;
    }
  }
}

}  // namespace hypura::kernels::scalar
