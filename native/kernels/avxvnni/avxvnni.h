// Strips for x86-64 with AVX-VNNI, dpbusd of 256 bits, as in Intel's laptops since 2021, which have no AVX-512. Each gives the bits of
// its scalar counterpart (native/kernels/scalar).
//
// Types (avx2/q4_k.h and so on) and frames are AVX2's, compiled a second time with other flags and internal linkage: only how a strip
// multiplies is different (quad_dots.h). Few positions, which memory bounds, and everything else are AVX2's.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::avxvnni {

using Matmul = void(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                    uint64_t activation_stride, uint32_t n_positions, float* out, uint64_t out_stride);

Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

}  // namespace hypura::kernels::avxvnni
