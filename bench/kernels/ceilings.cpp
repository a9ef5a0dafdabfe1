#include "bench/kernels/ceilings.h"

#include <immintrin.h>

namespace hypura::bench {
namespace {

// Results go here: a compiler removes what nobody reads.
volatile int sink;

bool has_avx512vnni() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
}

// Four sequences at once, each asked for ahead: one alone leaves a tenth to a third of the bandwidth unused.
constexpr uint64_t kAheadBytes = 1024;

__attribute__((target("avx512f"))) uint64_t read_512(const std::byte* bytes, uint64_t n_bytes) {
  __m512i sum[4] = {};
  for (uint64_t i = 0; i < n_bytes / 4; i += 64)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const std::byte* at = bytes + static_cast<uint64_t>(k) * (n_bytes / 4) + i;
      _mm_prefetch(reinterpret_cast<const char*>(at + kAheadBytes), _MM_HINT_T0);
      sum[k] = _mm512_add_epi64(sum[k], _mm512_loadu_si512(at));
    }
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(
      _mm512_add_epi64(_mm512_add_epi64(sum[0], sum[1]), _mm512_add_epi64(sum[2], sum[3]))));
}

__attribute__((target("avx2"))) uint64_t read_256(const std::byte* bytes, uint64_t n_bytes) {
  __m256i sum[4] = {};
  for (uint64_t i = 0; i < n_bytes / 4; i += 64)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const std::byte* at = bytes + static_cast<uint64_t>(k) * (n_bytes / 4) + i;
      _mm_prefetch(reinterpret_cast<const char*>(at + kAheadBytes), _MM_HINT_T0);
      const auto* lanes = reinterpret_cast<const __m256i*>(at);
      sum[k] = _mm256_add_epi64(
          sum[k], _mm256_add_epi64(_mm256_loadu_si256(lanes), _mm256_loadu_si256(lanes + 1)));
    }
  const __m256i all =
      _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0) + _mm256_extract_epi64(all, 1) +
                               _mm256_extract_epi64(all, 2) + _mm256_extract_epi64(all, 3));
}

// Sixteen chains: two instructions per cycle of latency four need eight.
__attribute__((target("avx512f,avx512vnni"))) uint64_t bytes_512(uint32_t n_steps) {
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(static_cast<char>(sink | 1));
  __m512i sum[16];
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) sum[k] = _mm512_set1_epi32(k);  // equal chains would be made once
  for (uint32_t i = 0; i < n_steps; ++i)
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) sum[k] = _mm512_dpbusd_epi32(sum[k], a, b);
#pragma GCC unroll 16
  for (int k = 1; k < 16; ++k) sum[0] = _mm512_add_epi32(sum[0], sum[k]);
  sink = _mm512_reduce_add_epi32(sum[0]);
  return uint64_t{n_steps} * 16 * 64 * 2;
}

// maddubs into int16 and an int16 sum, which a kernel may keep for a few steps before it widens.
__attribute__((target("avx2"))) uint64_t bytes_256(uint32_t n_steps) {
  const __m256i a = _mm256_set1_epi8(3);
  __m256i b = _mm256_set1_epi8(static_cast<char>(sink | 1));
  __m256i sum[12];
#pragma GCC unroll 12
  for (int k = 0; k < 12; ++k) sum[k] = _mm256_set1_epi16(static_cast<short>(k));
  for (uint32_t i = 0; i < n_steps; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) {
      __asm__ volatile("" : "+x"(b));  // a product of the same operands would be made once
      sum[k] = _mm256_add_epi16(sum[k], _mm256_maddubs_epi16(a, b));
    }
#pragma GCC unroll 12
  for (int k = 1; k < 12; ++k) sum[0] = _mm256_add_epi16(sum[0], sum[k]);
  sink = _mm256_extract_epi32(sum[0], 0);
  return uint64_t{n_steps} * 12 * 32 * 2;
}

__attribute__((target("avx512f"))) uint64_t floats_512(uint32_t n_steps) {
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(static_cast<float>(sink));
  __m512 sum[16];
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) sum[k] = _mm512_set1_ps(static_cast<float>(k));
  for (uint32_t i = 0; i < n_steps; ++i)
#pragma GCC unroll 16
    for (int k = 0; k < 16; ++k) sum[k] = _mm512_fmadd_ps(sum[k], a, b);
#pragma GCC unroll 16
  for (int k = 1; k < 16; ++k) sum[0] = _mm512_add_ps(sum[0], sum[k]);
  sink = static_cast<int>(_mm512_reduce_max_ps(sum[0])) & 1;
  return uint64_t{n_steps} * 16 * 16 * 2;
}

__attribute__((target("avx2,fma"))) uint64_t floats_256(uint32_t n_steps) {
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(static_cast<float>(sink));
  __m256 sum[12];
#pragma GCC unroll 12
  for (int k = 0; k < 12; ++k) sum[k] = _mm256_set1_ps(static_cast<float>(k));
  for (uint32_t i = 0; i < n_steps; ++i)
#pragma GCC unroll 12
    for (int k = 0; k < 12; ++k) sum[k] = _mm256_fmadd_ps(sum[k], a, b);
#pragma GCC unroll 12
  for (int k = 1; k < 12; ++k) sum[0] = _mm256_add_ps(sum[0], sum[k]);
  sink = static_cast<int>(_mm256_cvtss_f32(sum[0])) & 1;
  return uint64_t{n_steps} * 12 * 8 * 2;
}

}  // namespace

uint64_t read_all(const std::byte* bytes, uint64_t n_bytes) {
  return has_avx512vnni() ? read_512(bytes, n_bytes) : read_256(bytes, n_bytes);
}

uint64_t multiply_bytes(uint32_t n_steps) {
  return has_avx512vnni() ? bytes_512(n_steps) : bytes_256(n_steps);
}

uint64_t multiply_floats(uint32_t n_steps) {
  return has_avx512vnni() ? floats_512(n_steps) : floats_256(n_steps);
}

}  // namespace hypura::bench
