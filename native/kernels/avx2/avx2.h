// Kernels for x86-64 with AVX2, FMA and F16C. Each gives the bits of its scalar counterpart
// (native/kernels/scalar).
//
// Files of this folder are compiled with wide-register flags. They include intrinsics, <cstdint>,
// kernel_set.h, the plain structs of blocks.h and activations.h, and headers of this folder, whose
// functions all have internal linkage: an inline function with a name of its own, compiled here,
// may be the copy the linker keeps for every other file.
//
// Loops over positions, rows and heads carry an unroll pragma: their counts are template arguments,
// and at -O2 gcc would otherwise keep the accumulators in memory, at a third of the speed.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx2 {

using Matmul = void(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                    uint64_t activation_stride, uint32_t n_positions, float* out,
                    uint64_t out_stride);

Matmul matmul_f32, matmul_f16, matmul_bf16;
Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

bool quantize_a32(const float* x, uint32_t n_cols, void* out);
bool quantize_a256(const float* x, uint32_t n_cols, void* out);

void rms_norm(const float* x, const float* weight, uint32_t n, float epsilon, float* y);
void add(const float* x, uint32_t n, float* y);
void add_scaled(const float* x, float scale, uint32_t n, float* y);
void scale(float factor, uint32_t n, float* y);
void silu_mul(const float* gate, const float* up, uint32_t n, float* y);
void gelu_mul(const float* gate, const float* up, uint32_t n, float* y);
void softmax(float* x, uint32_t n);
void sigmoid(float* x, uint32_t n);
void rope(float* heads, uint32_t n_heads, uint32_t head_stride, uint32_t n_pairs,
          const float* cosines, const float* sines, bool neox);
void to_f16(const float* x, uint32_t n, uint16_t* y);
float dot(const float* x, const float* y, uint32_t n);
void attention(const AttentionChunk& chunk, const AttentionPart& part, float* scratch);
void attention_merge(const AttentionPart& part, uint32_t n_rows, uint32_t head_dim_v,
                     const AttentionPart& into);

}  // namespace hypura::kernels::avx2
