// Q4_0 on AVX-512 VNNI. Nibbles stay unsigned and 8 * (sum of a) is subtracted per block.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/rows_32.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

struct Q4_0 {
  using Block = BlockQ4_0;
  static constexpr int kOffset = 8;

  // Low nibbles are weights 0-15, high ones 16-31: a 128-bit lane each.
  static __m512i pair(const Block* w) {
    const __m256i first = _mm256_broadcastsi128_si256(load_16(w[0].low));
    const __m256i second = _mm256_broadcastsi128_si256(load_16(w[1].low));
    const __m512i shift =
        _mm512_set_epi64(0x0004000400040004, 0x0004000400040004, 0, 0, 0x0004000400040004,
                         0x0004000400040004, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi16(join(first, second), shift), _mm512_set1_epi8(15));
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, __m512i v[8]) {
    const __m512i nibble = _mm512_set1_epi8(15);
    load_columns(rows + __builtin_offsetof(Block, low), row_bytes, v);
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) {
      v[4 + s] = _mm512_and_si512(_mm512_srli_epi16(v[s], 4), nibble);
      v[s] = _mm512_and_si512(v[s], nibble);
    }
  }
};

}  // namespace

void matmul_q4_0(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_32<Q4_0>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                  out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
