// What the machine allows, measured: bytes read from memory, and int8 and float products in registers.
// Each is one burst on the calling thread; the caller runs it on as many threads as the kernel it stands beside.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hypura::bench {

// Reads all bytes once, in the widest loads the processor has; returns something made of them. n_bytes % 1024 == 0.
uint64_t read_all(const std::byte* bytes, uint64_t n_bytes);

// Multiply-accumulates unsigned by signed bytes with the best instruction the processor has; returns how many products and
// sums that were (two per pair of bytes).
uint64_t multiply_bytes(uint32_t n_steps);

// The same for fma of floats.
uint64_t multiply_floats(uint32_t n_steps);

}  // namespace hypura::bench
