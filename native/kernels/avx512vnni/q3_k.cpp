// Q3_K on AVX-512 VNNI. Weights stay unsigned, 0..7: in place 4 * sum_j scale_j * sum16_j is
// subtracted once per block, in a strip each sub-block's sum begins at -4 * sum16_j. A sum of four
// products is at most 4 * 7 * 127 = 3,556 and fits into int16.
#if defined(__x86_64__)
#include "native/kernels/avx512vnni/avx512vnni.h"
#include "native/kernels/avx512vnni/k_rows.h"
#include "native/kernels/avx512vnni/scales_16.h"
#include "native/kernels/blocks.h"

namespace hypura::kernels::avx512vnni {
namespace {

// (low & 3) | (high & 4)
inline __m512i with_third_bit(__m512i low, __m512i high) {
  const __m512i two = _mm512_and_si512(low, _mm512_set1_epi8(3));
  return _mm512_ternarylogic_epi64(two, high, _mm512_set1_epi8(4), 0xf8);
}

// Bit kBit of each byte to bit 2; the others are somewhere else.
template <int kBit>
inline __m512i to_bit_2(__m512i high) {
  return kBit < 2 ? _mm512_slli_epi16(high, 2 - kBit) : _mm512_srli_epi16(high, kBit - 2);
}

struct Q3K {
  using Block = BlockQ3K;
  static constexpr int kMins = 0;
  static constexpr int kOffset = 4;
  static constexpr int kSubBlockSteps = 4;
  // Sixteen bytes that end with the block: two of `low`, the scales, d.
  static constexpr uint64_t kTail = sizeof(Block) - 16;

  static uint32_t halves(const Block& w) { return load_u16(w.d); }

  // As int16, offset taken off.
  static __m256i scales(const Block& w) {
    const __m128i tail = load_16(reinterpret_cast<const uint8_t*>(&w) + kTail);
    const __m128i words =
        _mm_shuffle_epi8(tail, _mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const __m128i low = _mm_and_si128(_mm_srlv_epi32(words, _mm_setr_epi32(0, 0, 4, 4)),
                                      _mm_set1_epi8(15));
    const __m128i tops = _mm_shuffle_epi8(
        tail, _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m128i high = _mm_and_si128(_mm_rolv_epi32(tops, _mm_setr_epi32(4, 2, 0, 30)),
                                       _mm_set1_epi8(0x30));
    return _mm256_cvtepi8_epi16(_mm_sub_epi8(_mm_or_si128(low, high), _mm_set1_epi8(32)));
  }

  static __m512i dot(const Block& w, const ActivationA256& a) {
    const __m512i high = broadcast_32(w.high);
    const auto pair = [&](int h, int g, __m512i third) {  // groups g and g + 1 of half h
      const __m512i shift = join(_mm256_set1_epi16(static_cast<short>(2 * g)),
                                 _mm256_set1_epi16(static_cast<short>(2 * g + 2)));
      const __m512i low = _mm512_srlv_epi16(broadcast_32(w.low + 32 * h), shift);
      return _mm512_dpbusd_epi32(_mm512_setzero_si512(), with_third_bit(low, third),
                                 load_64(a.q + 128 * h + 32 * g));
    };
    const auto shifts = [](short first, short second) {
      return join(_mm256_set1_epi16(first), _mm256_set1_epi16(second));
    };
    const __m512i dot[4] = {pair(0, 0, _mm512_sllv_epi16(high, shifts(2, 1))),
                            pair(0, 2, _mm512_srlv_epi16(high, shifts(0, 1))),
                            pair(1, 0, _mm512_srlv_epi16(high, shifts(2, 3))),
                            pair(1, 2, _mm512_srlv_epi16(high, shifts(4, 5)))};
    const __m256i scale = scales(w);
    const __m512i offset = _mm512_zextsi256_si512(
        _mm256_slli_epi32(_mm256_madd_epi16(scale, load_32(a.sum16)), 2));
    return _mm512_sub_epi32(apply_scales(dot, scale), offset);
  }

  static void unpack_tail(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    __m512i tail[4];
    load_columns(rows + kTail, row_bytes, tail);
    _mm512_store_ps(strip.d, widen_halves(_mm512_srli_epi32(tail[3], 16)));
    __m512i words[3];  // the twelve bytes
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i)
      words[i] = _mm512_or_si512(_mm512_srli_epi32(tail[i], 16), _mm512_slli_epi32(tail[i + 1], 16));
    const __m512i nibble = _mm512_set1_epi8(15), top = _mm512_set1_epi8(0x30);
    const __m512i high[4] = {_mm512_slli_epi32(words[2], 4), _mm512_slli_epi32(words[2], 2),
                             words[2], _mm512_srli_epi32(words[2], 2)};
    __m512i scale[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i low = i < 2 ? words[i] : _mm512_srli_epi32(words[i - 2], 4);
      const __m512i six =
          _mm512_ternarylogic_epi64(_mm512_and_si512(low, nibble), high[i], top, 0xf8);
      scale[i] = _mm512_sub_epi8(six, _mm512_set1_epi8(32));
    }
    store_scales<4>(scale, strip);
  }

  template <int kHalf>
  static void unpack_half(const uint8_t* rows, uint64_t row_bytes, const __m512i* high,
                          Strip& strip) {
    for (int c = 0; c < 2; ++c) {  // sixteen of the half's 32 bytes
      __m512i low[4];
      load_columns(rows + __builtin_offsetof(Block, low) + 32 * kHalf + 16 * c, row_bytes, low);
      uint8_t(*q)[64] = strip.q + 32 * kHalf + 4 * c;  // groups of eight steps
#pragma GCC unroll 4
      for (int s = 0; s < 4; ++s) {
        const __m512i third = high[4 * c + s];
        _mm512_store_si512(q[s], with_third_bit(low[s], to_bit_2<4 * kHalf>(third)));
        _mm512_store_si512(q[8 + s], with_third_bit(_mm512_srli_epi16(low[s], 2),
                                                    to_bit_2<4 * kHalf + 1>(third)));
        _mm512_store_si512(q[16 + s], with_third_bit(_mm512_srli_epi16(low[s], 4),
                                                     to_bit_2<4 * kHalf + 2>(third)));
        _mm512_store_si512(q[24 + s], with_third_bit(_mm512_srli_epi16(low[s], 6),
                                                     to_bit_2<4 * kHalf + 3>(third)));
      }
    }
  }

  static void unpack(const uint8_t* rows, uint64_t row_bytes, Strip& strip) {
    unpack_tail(rows, row_bytes, strip);
    __m512i high[8];
    load_columns(rows + __builtin_offsetof(Block, high), row_bytes, high);
    load_columns(rows + __builtin_offsetof(Block, high) + 16, row_bytes, high + 4);
    unpack_half<0>(rows, row_bytes, high, strip);
    unpack_half<1>(rows, row_bytes, high, strip);
  }
};

}  // namespace

void matmul_q3_k(const void* weights, uint32_t n_cols, RowRange rows, const void* activations,
                 uint64_t activation_stride, uint32_t n_positions, float* out,
                 uint64_t out_stride) {
  matmul_k<Q3K>(weights, n_cols, rows, activations, activation_stride, n_positions, out,
                out_stride);
}

}  // namespace hypura::kernels::avx512vnni

#endif  // __x86_64__
