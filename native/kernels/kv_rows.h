// Rows of the KV cache: floats to what is stored. The kernels of attention read them back.
//
// Why there is no function per instruction set: quantising a few rows per position costs nothing, and the rule is that of
// activations (form A32 of activations.h), so the set's own quantize does the work.
// Thread-safe: pure but for the output.   Allocates: never.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/kernels/kernel_set.h"

namespace hypura::kernels {

// Elements of a row must be a multiple of this.
uint32_t kv_block(KvType type);
// Bytes of a row of n elements.
uint64_t kv_row_bytes(KvType type, uint32_t n);

// row (n) to its stored form: each element to half, ties to even; or 32 at a time d = amax / 127 and q = round(x (1 / d)),
// d then rounded to half. What has no such form (NaN, infinity, a scale beyond half) is stored as NaN or infinity, so that
// attention's result shows it.
void write_kv_row(const KernelSet& kernels, KvType type, const float* row, uint32_t n,
                  std::byte* out);

}  // namespace hypura::kernels
