// Float vectors to activation forms on AVX2. The rules stand in activations.h.
#if defined(__x86_64__)
#include "native/kernels/activations.h"
#include "native/kernels/avx2/avx2.h"
#include "native/kernels/avx2/lanes.h"

namespace hypura::kernels::avx2 {
namespace {

constexpr uint32_t kInfinityBits = 0x7f800000;

inline float float_of(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Bit pattern of the largest magnitude of n floats, n % 8 == 0: they order as the numbers do,
// infinity and NaN on top.
inline uint32_t magnitude_max(const float* x, uint32_t n) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i largest = _mm256_setzero_si256();
  for (uint32_t i = 0; i < n; i += 8)
    largest = _mm256_max_epu32(largest, _mm256_and_si256(load_32(x + i), magnitude));
  __m128i four =
      _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epu32(four, _mm_shuffle_epi32(four, 0xb1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(four));
}

// 32 floats to int8, in order. Conversion rounds half to even.
inline __m256i round_32(const float* x, __m256 inverse) {
  __m256i v[4];
  for (int i = 0; i < 4; ++i)
    v[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), inverse));
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

struct Sums {
  int first;  // of q[0..15]
  int second;
};

inline Sums sums_of(__m256i q) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
  __m256i sums = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  sums = _mm256_hadd_epi32(sums, sums);
  sums = _mm256_hadd_epi32(sums, sums);
  return {_mm256_cvtsi256_si32(sums), _mm256_extract_epi32(sums, 4)};
}

inline bool quantize_256(const float* x, ActivationA256& out) {
  const uint32_t amax = magnitude_max(x, 256);
  if (amax >= kInfinityBits) return false;
  __builtin_memset(&out, 0, sizeof out);
  const float inverse = 127.0f / float_of(amax);
  if (bits_of(inverse) >= kInfinityBits) return true;
  out.d = 1.0f / inverse;
  for (int j = 0; j < 8; ++j) {
    const __m256i q = round_32(x + 32 * j, _mm256_set1_ps(inverse));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q + 32 * j), q);
    const Sums sums = sums_of(q);
    out.sum16[2 * j] = static_cast<int16_t>(sums.first);
    out.sum16[2 * j + 1] = static_cast<int16_t>(sums.second);
    out.sum32[j] = static_cast<int16_t>(sums.first + sums.second);
  }
  return true;
}

inline bool quantize_8x32(const float* x, ActivationA32& out) {
  __builtin_memset(&out, 0, sizeof out);
  for (int k = 0; k < 8; ++k, x += 32) {
    const float d = float_of(magnitude_max(x, 32)) / 127.0f;
    const float stored =
        _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtps_ph(_mm_set_ss(d), _MM_FROUND_TO_NEAREST_INT)));
    if ((bits_of(stored) & 0x7fffffffu) >= kInfinityBits) return false;
    const float inverse = 1.0f / d;
    if (bits_of(inverse) >= kInfinityBits) continue;
    out.d[k] = stored;
    const __m256i q = round_32(x, _mm256_set1_ps(inverse));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q[k]), q);
    const Sums sums = sums_of(q);
    out.sum[k] = sums.first + sums.second;
  }
  return true;
}

template <typename Activation, bool (*kQuantize)(const float*, Activation&)>
inline bool quantize_all(const float* x, uint32_t n_cols, void* out) {
  Activation* blocks = static_cast<Activation*>(out);
  const uint64_t n_blocks = (static_cast<uint64_t>(n_cols) + 255) / 256;
  bool finite = true;
  for (uint64_t b = 0; b < n_cols / 256; ++b) finite = finite && kQuantize(x + 256 * b, blocks[b]);
  if (const uint32_t rest = n_cols % 256; rest != 0) {
    float padded[256] = {};
    __builtin_memcpy(padded, x + n_cols - rest, rest * sizeof(float));
    finite = finite && kQuantize(padded, blocks[n_blocks - 1]);
  }
  if (!finite) __builtin_memset(out, 0, n_blocks * sizeof(Activation));
  return finite;
}

}  // namespace

bool quantize_a256(const float* x, uint32_t n_cols, void* out) {
  return quantize_all<ActivationA256, quantize_256>(x, n_cols, out);
}

bool quantize_a32(const float* x, uint32_t n_cols, void* out) {
  return quantize_all<ActivationA32, quantize_8x32>(x, n_cols, out);
}

}  // namespace hypura::kernels::avx2

#endif  // __x86_64__
