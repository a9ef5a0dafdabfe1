// Kernels for 64-bit ARM with the signed byte dot product (FEAT_DotProd). Each gives the bits of its
// scalar counterpart (native/kernels/scalar). Run under emulation only, and never timed.
//
// Why signed: sdot adds four products of signed bytes into an int32, exactly for any bytes. Weights
// are unpacked to what they are worth, so no offset is subtracted and no narrow sum can overflow.
//
// The rules of an ISA folder stand in avx2/avx2.h: intrinsics, <cstdint>, kernel_set.h and plain
// structs only, helpers with internal linkage, and an unroll pragma on loops whose counts are
// template arguments. neon_i8mm uses the headers of this folder.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::neon_dotprod {

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

}  // namespace hypura::kernels::neon_dotprod
