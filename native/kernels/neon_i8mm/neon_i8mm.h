// Strips for 64-bit ARM with the int8 matrix product (FEAT_I8MM, and FEAT_DotProd). Run under emulation
// only, and never timed.
//
// smmla multiplies eight weights of two rows by eight activations of two positions at once. For one
// position it brings nothing: rows in place, floats and everything else are neon_dotprod's. The types
// (neon_dotprod/k_types.h, types_32.h) and the frames around the integers are shared: the
// files here compile them a second time, with their own flags and internal linkage.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::neon_i8mm {

using Matmul = void(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                    uint64_t activation_stride, uint32_t n_positions, float* out,
                    uint64_t out_stride);

Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

}  // namespace hypura::kernels::neon_i8mm
