// Float vectors to activation forms on NEON. The rules stand in activations.h.
#if defined(__aarch64__)
#include "native/kernels/activations.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {
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

// Bit pattern of the largest magnitude of n floats, n % 4 == 0: they order as the numbers do,
// infinity and NaN on top.
inline uint32_t magnitude_max(const float* x, uint32_t n) {
  uint32x4_t largest = vdupq_n_u32(0);
  for (uint32_t i = 0; i < n; i += 4)
    largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  return vmaxvq_u32(largest);
}

// Sixteen floats to int8. Conversion rounds half to even.
inline int8x16_t round_16(const float* x, float inverse) {
  int16x4_t four[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    four[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), inverse)));
  return vcombine_s8(vmovn_s16(vcombine_s16(four[0], four[1])),
                     vmovn_s16(vcombine_s16(four[2], four[3])));
}

// Sixteen elements of q; their sum.
inline int store_rounded(const float* x, float inverse, int8_t* q) {
  const int8x16_t bytes = round_16(x, inverse);
  vst1q_s8(q, bytes);
  return vaddlvq_s8(bytes);
}

inline bool quantize_256(const float* x, ActivationA256& out) {
  const uint32_t amax = magnitude_max(x, 256);
  if (amax >= kInfinityBits) return false;
  __builtin_memset(&out, 0, sizeof out);
  const float inverse = 127.0f / float_of(amax);
  if (bits_of(inverse) >= kInfinityBits) return true;
  out.d = 1.0f / inverse;
  for (int j = 0; j < 8; ++j) {
    const int first = store_rounded(x + 32 * j, inverse, out.q + 32 * j);
    const int second = store_rounded(x + 32 * j + 16, inverse, out.q + 32 * j + 16);
    out.sum16[2 * j] = static_cast<int16_t>(first);
    out.sum16[2 * j + 1] = static_cast<int16_t>(second);
    out.sum32[j] = static_cast<int16_t>(first + second);
  }
  return true;
}

inline bool quantize_8x32(const float* x, ActivationA32& out) {
  __builtin_memset(&out, 0, sizeof out);
  for (int k = 0; k < 8; ++k, x += 32) {
    const float d = float_of(magnitude_max(x, 32)) / 127.0f;
    const float stored = vgetq_lane_f32(vcvt_f32_f16(vcvt_f16_f32(vdupq_n_f32(d))), 0);
    if ((bits_of(stored) & 0x7fffffffu) >= kInfinityBits) return false;
    const float inverse = 1.0f / d;
    if (bits_of(inverse) >= kInfinityBits) continue;
    out.d[k] = stored;
    out.sum[k] = store_rounded(x, inverse, out.q[k]);
    out.sum[k] += store_rounded(x + 16, inverse, out.q[k] + 16);
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

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
