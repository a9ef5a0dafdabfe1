// Operations on float vectors on NEON; formulas and their order stand in scalar/vectors.cpp. The last
// elements go through a padded copy of four, so that no element past n is read, written or added.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/exp4.h"
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {
namespace {

// y[i] = operation(load) for all i < n, four at a time; load(x) gives elements i .. i + 3 of x, as far
// as they exist.
template <typename Operation>
inline void store_each(float* y, uint32_t n, Operation operation) {
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4)
    vst1q_f32(y + i, operation([i](const float* x) { return vld1q_f32(x + i); }));
  if (i == n) return;
  const uint32_t rest = n - i;
  store_first(y + i, rest,
              operation([i, rest](const float* x) { return load_first(x + i, rest); }));
}

inline float32x4_t one_plus(float32x4_t e) { return vaddq_f32(vdupq_n_f32(1.0f), e); }

constexpr float kMinusInfinity = -__builtin_inff();

// Elements i .. i + 3 of x that are below n; -inf for the others, whose exp is +0 and adds nothing.
inline float32x4_t load_or_minus_infinity(const float* x, uint32_t i, uint32_t n) {
  if (i + 4 <= n) return vld1q_f32(x + i);
  return load_first(x + i, n > i ? n - i : 0, kMinusInfinity);
}

inline float max_of(const float* x, uint32_t n) {
  float32x4_t max = vdupq_n_f32(kMinusInfinity);
  for (uint32_t i = 0; i < n; i += 4) max = vmaxq_f32(max, load_or_minus_infinity(x, i, n));
  return vmaxvq_f32(max);
}

}  // namespace

float dot(const float* x, const float* y, uint32_t n) {
  Lanes lanes = zero_lanes();
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) add_products(lanes, load_lanes(x + i), load_lanes(y + i));
  if (const uint32_t rest = n - i; rest != 0) {
    float last_x[16] = {}, last_y[16] = {};
    __builtin_memcpy(last_x, x + i, rest * sizeof(float));
    __builtin_memcpy(last_y, y + i, rest * sizeof(float));
    add_products(lanes, load_lanes(last_x), load_lanes(last_y), rest);
  }
  return fold(lanes);
}

void rms_norm(const float* x, const float* weight, uint32_t n, float epsilon, float* y) {
  const float mean = dot(x, x, n) / static_cast<float>(n);
  const float root = vget_lane_f32(vsqrt_f32(vdup_n_f32(mean + epsilon)), 0);
  const float inverse = 1.0f / root;
  store_each(y, n, [=](auto load) {
    const float32x4_t scaled = vmulq_n_f32(load(x), inverse);
    return weight == nullptr ? scaled : vmulq_f32(scaled, load(weight));
  });
}

void add(const float* x, uint32_t n, float* y) {
  store_each(y, n, [=](auto load) { return vaddq_f32(load(y), load(x)); });
}

void add_scaled(const float* x, float scale, uint32_t n, float* y) {
  store_each(y, n, [=](auto load) { return vfmaq_n_f32(load(y), load(x), scale); });
}

void scale(float factor, uint32_t n, float* y) {
  store_each(y, n, [=](auto load) { return vmulq_n_f32(load(y), factor); });
}

void silu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  store_each(y, n, [=](auto load) {
    const float32x4_t g = load(gate);
    return vmulq_f32(vdivq_f32(g, one_plus(exp4(vnegq_f32(g)))), load(up));
  });
}

void gelu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  store_each(y, n, [=](auto load) {
    const float32x4_t g = load(gate);
    const float32x4_t z = vmulq_f32(g, vfmaq_f32(vdupq_n_f32(1.5957691f), vmulq_f32(g, g),
                                                 vdupq_n_f32(0.071354814f)));
    return vmulq_f32(vdivq_f32(g, one_plus(exp4(vnegq_f32(z)))), load(up));
  });
}

void softmax(float* x, uint32_t n) {
  if (n == 0) return;
  const float32x4_t max = vdupq_n_f32(max_of(x, n));
  Lanes lanes = zero_lanes();
  for (uint32_t i = 0; i < n; i += 16)
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; ++k) {
      const uint32_t at = i + 4 * k;
      if (at >= n) break;
      const float32x4_t p = exp4(vsubq_f32(load_or_minus_infinity(x, at, n), max));
      lanes.four[k] = vaddq_f32(lanes.four[k], p);
      if (at + 4 <= n)
        vst1q_f32(x + at, p);
      else
        store_first(x + at, n - at, p);
    }
  scale(1.0f / fold(lanes), n, x);
}

void sigmoid(float* x, uint32_t n) {
  store_each(x, n, [=](auto load) {
    return vdivq_f32(vdupq_n_f32(1.0f), one_plus(exp4(vnegq_f32(load(x)))));
  });
}

void to_f16(const float* x, uint32_t n, uint16_t* y) {
  const auto narrow = [](float32x4_t four) { return vreinterpret_u16_f16(vcvt_f16_f32(four)); };
  uint32_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(y + i, narrow(vld1q_f32(x + i)));
  if (i == n) return;
  uint16_t last[4];
  vst1_u16(last, narrow(load_first(x + i, n - i)));
  __builtin_memcpy(y + i, last, (n - i) * sizeof *y);
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
