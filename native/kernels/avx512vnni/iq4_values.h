// The sixteen values of IQ4_NL and IQ4_XS (scalar/iq4_values.h), 128 larger: 1 .. 241. Internal linkage
// (avx512vnni.h).
#pragma once

#include <immintrin.h>

namespace hypura::kernels::avx512vnni {
namespace {

constexpr int kIq4Offset = 128;

inline __m512i iq4_values(__m512i nibbles) {
  const __m512i values = _mm512_broadcast_i32x4(
      _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129),
                    static_cast<char>(141), static_cast<char>(153), static_cast<char>(166),
                    static_cast<char>(181), static_cast<char>(197), static_cast<char>(217),
                    static_cast<char>(241)));
  return _mm512_shuffle_epi8(values, nibbles);
}

}  // namespace
}  // namespace hypura::kernels::avx512vnni
