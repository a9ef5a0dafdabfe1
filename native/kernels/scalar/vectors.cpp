// Operations on float vectors: norm, sums, activation functions, softmax, rope, halves. Formulas
// with their order:
//   rms_norm   (x * (1 / sqrt(sum x^2 / n + epsilon))) * weight, the sum by E4
//   silu       g / (1 + e^-g)
//   gelu_tanh  g / (1 + e^-z), z = g * fma(g * g, 0.071354814, 1.5957691)
//              since (1 + tanh(z / 2)) / 2 = 1 / (1 + e^-z)
//   softmax    p = e^(x - max); p * (1 / sum p), the sum by E4
//   rope       a' = fma(-b, sin, a * cos), b' = fma(a, sin, b * cos)
#include <cmath>

#include "native/kernels/scalar/exp.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/lanes.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {

float dot(const float* x, const float* y, uint32_t n) {
  Lanes lanes;
  for (uint32_t i = 0; i < n; ++i) lanes.fma(i, x[i], y[i]);
  return lanes.fold();
}

void rms_norm(const float* x, const float* weight, uint32_t n, float epsilon, float* y) {
  const float mean = dot(x, x, n) / static_cast<float>(n);
  const float inverse = 1.0f / std::sqrt(mean + epsilon);
  for (uint32_t i = 0; i < n; ++i) {
    y[i] = x[i] * inverse;
    if (weight != nullptr) y[i] *= weight[i];
  }
}

void add(const float* x, uint32_t n, float* y) {
  for (uint32_t i = 0; i < n; ++i) y[i] += x[i];
}

void add_scaled(const float* x, float scale, uint32_t n, float* y) {
  for (uint32_t i = 0; i < n; ++i) y[i] = std::fma(x[i], scale, y[i]);
}

void scale(float factor, uint32_t n, float* y) {
  for (uint32_t i = 0; i < n; ++i) y[i] *= factor;
}

void silu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  for (uint32_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
}

void gelu_mul(const float* gate, const float* up, uint32_t n, float* y) {
  for (uint32_t i = 0; i < n; ++i) {
    const float g = gate[i];
    const float z = g * std::fma(g * g, 0.071354814f, 1.5957691f);
    y[i] = g / (1.0f + exp_f32(-z)) * up[i];
  }
}

void softmax(float* x, uint32_t n) {
  if (n == 0) return;
  float max = x[0];
  for (uint32_t i = 1; i < n; ++i) max = x[i] > max ? x[i] : max;
  Lanes lanes;
  for (uint32_t i = 0; i < n; ++i) {
    x[i] = exp_f32(x[i] - max);
    lanes.add(i, x[i]);
  }
  scale(1.0f / lanes.fold(), n, x);
}

void sigmoid(float* x, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) x[i] = 1.0f / (1.0f + exp_f32(-x[i]));
}

void rope(float* heads, uint32_t n_heads, uint32_t head_stride, uint32_t n_pairs,
          const float* cosines, const float* sines, bool neox) {
  const uint32_t step = neox ? 1 : 2, distance = neox ? n_pairs : 1;
  for (uint32_t h = 0; h < n_heads; ++h) {
    float* head = heads + uint64_t{h} * head_stride;
    for (uint32_t i = 0; i < n_pairs; ++i) {
      float& first = head[i * step];
      float& second = head[i * step + distance];
      const float a = first, b = second;
      first = std::fma(-b, sines[i], a * cosines[i]);
      second = std::fma(a, sines[i], b * cosines[i]);
    }
  }
}

void to_f16(const float* x, uint32_t n, uint16_t* y) {
  for (uint32_t i = 0; i < n; ++i) y[i] = float_to_half(x[i]);
}

}  // namespace hypura::kernels::scalar
