// Q8_0 on AVX-512 VNNI. dpbusd wants one unsigned operand: with its top bit flipped a weight is
// w + 128, 0..255, and 128 * (sum of a) is subtracted.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

inline __m512i plus_128(__m512i w) {
  return _mm512_xor_si512(w, _mm512_set1_epi8(static_cast<char>(0x80)));
}

struct Q8_0 {
  using Block = BlockQ8_0;
  static constexpr int kOffset = 128;

  static __m512i pair(const Block* w) { return plus_128(join(load_32(w[0].q), load_32(w[1].q))); }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    load_columns(rows + __builtin_offsetof(Block, q), row_bytes, v);
    load_columns(rows + __builtin_offsetof(Block, q) + 16, row_bytes, v + 4);
#pragma GCC unroll 8
    for (int s = 0; s < 8; ++s) v[s] = plus_128(v[s]);
  }
};

}  // namespace

void matmul_q8_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<Q8_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                  out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
