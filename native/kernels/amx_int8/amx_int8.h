// Strips for x86-64 with AMX int8 (tiles of 16 rows of 64 bytes), beside AVX-512 VNNI. Each gives the bits of its scalar counterpart
// (native/kernels/scalar).
//
// A tile product multiplies sixteen rows by sixteen positions, 64 weights deep, at eight times the speed of dpbusd. For few positions
// it brings nothing: those are left to avx512vnni's functions for Intel's cores, the only ones with tiles, and floats to its others. How
// a strip is unpacked is shared: types (avx512vnni/q4_k.h and so on) are compiled here with other flags and internal linkage.
//
// The system must permit tile registers to the process before the first call (kernel_sets_x86.cpp). A kernel configures them on
// entry and releases them on return, so that a thread carries 8 KiB of registers only while it multiplies.
#pragma once

#include "native/kernels/kernel_set.h"

namespace hypura::kernels::amx_int8 {

using Matmul = void(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                    uint64_t activation_stride, uint32_t n_positions, float* out,
                    uint64_t out_stride);

Matmul matmul_q4_0, matmul_q4_1, matmul_q5_0, matmul_q5_1, matmul_q8_0;
Matmul matmul_q2_k, matmul_q3_k, matmul_q4_k, matmul_q5_k, matmul_q6_k;
Matmul matmul_iq4_nl, matmul_iq4_xs, matmul_mxfp4;

}  // namespace hypura::kernels::amx_int8
