// Kernels for x86-64 with AVX-512 F, BW, VL, DQ and VNNI. Each gives the bits of its scalar
// counterpart (native/kernels/scalar).
//
// Only what gains by it is here: the products, whose integers dpbusd adds up four at a time, exactly
// and without saturation, and attention, whose sixteen lanes are one register. What is not a bottleneck is taken from the AVX2 set (kernel_sets.cpp).
//
// The rules of an ISA folder stand in avx2/avx2.h: intrinsics, <cstdint>, kernel_set.h and plain
// structs only, helpers with internal linkage, and an unroll pragma on loops whose counts are
// template arguments.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avx512vnni {

using Matmul = void(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                    uint64_t activation_stride, uint32_t n_positions, float* out,
                    uint64_t out_stride);

Matmul matmul_f32, matmul_f16, matmul_bf16;
Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

// The same on Intel's cores, whose prefetcher wants few positions to meet rows in another order (RowOrder in strip.h).
namespace quarters {
Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;
}  // namespace quarters

void attention(const AttentionChunk& chunk, const AttentionPart& part, float* scratch);

}  // namespace hypura::kernels::avx512vnni
