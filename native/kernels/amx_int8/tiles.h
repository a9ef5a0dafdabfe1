// The eight tile registers: configuration, loads, stores, products. Internal linkage (amx_int8.h).
//
// A product adds A (positions x bytes) times B (steps of four weights x sixteen rows) to C (positions x sixteen rows, int32): A is
// read from the activations as they lie, B is a strip of sixteen rows as avx512vnni unpacks it.
//
// Every instruction says that it reads or writes memory: a compiler does not know what a tile holds and would move or drop the
// stores that fill it.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1 chapter 18.
#pragma once

#include <cstdint>

namespace hypura::kernels::amx_int8 {
namespace {

constexpr uint32_t kTileRows = 16;
constexpr uint32_t kTileBytes = 64;  // of a row

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, uint32_t n_rows, uint32_t n_bytes) {
    rows[tile] = static_cast<uint8_t>(n_rows);
    row_bytes[tile] = static_cast<uint16_t>(n_bytes);
  }
  void load() const { __asm__ volatile("ldtilecfg %0" : : "m"(*this) : "memory"); }
};

inline void release_tiles() { __asm__ volatile("tilerelease" : : : "memory"); }

template <int kTile>
inline void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile) : "memory");
}

// Rows `stride` bytes apart.
template <int kTile>
inline void load_tile(const void* bytes, uint64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(bytes), "r"(stride), "i"(kTile) : "memory");
}

// int32 sums to sixteen per row.
template <int kTile>
inline void store_tile(int32_t (*sums)[16]) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(sums), "r"(uint64_t{64}), "i"(kTile) : "memory");
}

// C += A * B, A signed, B signed or not.
template <bool kSigned, int kC, int kA, int kB>
inline void multiply_tiles() {
  if constexpr (kSigned)
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB) : "memory");
  else
    __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB) : "memory");
}

// Positions in groups of nearly equal size, at most `most` each: none is much smaller than the others.
struct Groups {
  uint32_t n;
  uint32_t size;      // of the last ones
  uint32_t n_larger;  // the first ones have one more

  Groups(uint32_t n_positions, uint32_t most)
      : n((n_positions + most - 1) / most), size(n_positions / n), n_larger(n_positions % n) {}
  uint32_t size_of(uint32_t group) const { return size + (group < n_larger ? 1 : 0); }
};

}  // namespace
}  // namespace hypura::kernels::amx_int8
