// The scalar kernels: the specification every other instruction set must match to the bit.
#pragma once

#include <type_traits>

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::scalar {

using Matmul = std::remove_pointer_t<MatmulFunction>;
using Dequantize = std::remove_pointer_t<DequantizeFunction>;
using Quantize = std::remove_pointer_t<QuantizeFunction>;
using Attention = std::remove_pointer_t<AttentionFunction>;
using AttentionMerge = std::remove_pointer_t<AttentionMergeFunction>;

Matmul matmul_f32, matmul_f16, matmul_bf16;
Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

Dequantize dequantize_f32, dequantize_f16, dequantize_bf16;
Dequantize dequantize_q4_0, dequantize_q4_1, dequantize_q5_0, dequantize_q5_1, dequantize_q8_0;
Dequantize dequantize_q2_k, dequantize_q3_k, dequantize_q4_k, dequantize_q5_k, dequantize_q6_k;
Dequantize dequantize_iq4_nl, dequantize_iq4_xs, dequantize_mxfp4;

Quantize quantize_f32, quantize_a32, quantize_a256;

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
Attention attention;
AttentionMerge attention_merge;

}  // namespace hypura::kernels::scalar
