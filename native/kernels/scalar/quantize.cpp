// Float vectors to activation forms. The rules stand in activations.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "native/kernels/activations.h"
#include "native/kernels/scalar/half.h"
#include "native/kernels/scalar/scalar.h"

namespace hypura::kernels::scalar {
namespace {

// The largest magnitude, or NaN or infinity when one is met.
float magnitude_max(const float* x, uint32_t n) {
  uint32_t largest =
      0;  // bit patterns of magnitudes order as the numbers do, infinity and NaN above all
  for (uint32_t i = 0; i < n; ++i)
    largest = std::max(largest, std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu);
  return std::bit_cast<float>(largest);
}

void round_all(const float* x, uint32_t n, float inverse, int8_t* q) {
  for (uint32_t i = 0; i < n; ++i) q[i] = static_cast<int8_t>(std::lrint(x[i] * inverse));
}

int sum_of(const int8_t* q, uint32_t n) {
  int sum = 0;
  for (uint32_t i = 0; i < n; ++i) sum += q[i];
  return sum;
}

bool quantize_256(const float* x, ActivationA256& out) {
  const float amax = magnitude_max(x, 256);
  if (!std::isfinite(amax)) return false;
  std::memset(&out, 0, sizeof out);
  const float inverse = 127.0f / amax;
  if (!std::isfinite(inverse)) return true;
  out.d = 1.0f / inverse;
  round_all(x, 256, inverse, out.q);
  for (uint32_t j = 0; j < 8; ++j) out.sum32[j] = static_cast<int16_t>(sum_of(out.q + 32 * j, 32));
  for (uint32_t j = 0; j < 16; ++j) out.sum16[j] = static_cast<int16_t>(sum_of(out.q + 16 * j, 16));
  return true;
}

bool quantize_8x32(const float* x, ActivationA32& out) {
  std::memset(&out, 0, sizeof out);
  for (uint32_t k = 0; k < 8; ++k, x += 32) {
    const float amax = magnitude_max(x, 32);
    const float d = amax / 127.0f;
    const float stored = half_to_float(float_to_half(d));
    if (!std::isfinite(stored)) return false;
    const float inverse = 1.0f / d;
    if (!std::isfinite(inverse)) continue;
    out.d[k] = stored;
    round_all(x, 32, inverse, out.q[k]);
    out.sum[k] = sum_of(out.q[k], 32);
  }
  return true;
}

// Runs over 256 elements at a time; the last ones are padded with zeros.
template <typename Activation, bool (*kQuantize)(const float*, Activation&)>
bool quantize_all(const float* x, uint32_t n_cols, void* out) {
  Activation* blocks = static_cast<Activation*>(out);
  const uint64_t n_blocks = (uint64_t{n_cols} + 255) / 256;
  bool finite = true;
  for (uint64_t b = 0; b < n_cols / 256; ++b) finite = finite && kQuantize(x + 256 * b, blocks[b]);
  if (const uint32_t rest = n_cols % 256; rest != 0) {
    float padded[256] = {};
    std::memcpy(padded, x + n_cols - rest, rest * sizeof(float));
    finite = finite && kQuantize(padded, blocks[n_blocks - 1]);
  }
  if (!finite) std::memset(out, 0, n_blocks * sizeof(Activation));
  return finite;
}

}  // namespace

bool quantize_a256(const float* x, uint32_t n_cols, void* out) {
  return quantize_all<ActivationA256, quantize_256>(x, n_cols, out);
}

bool quantize_a32(const float* x, uint32_t n_cols, void* out) {
  return quantize_all<ActivationA32, quantize_8x32>(x, n_cols, out);
}

bool quantize_f32(const float* x, uint32_t n_cols, void* out) {
  const uint64_t bytes = uint64_t{n_cols} * sizeof(float);
  const uint64_t padded_bytes = (bytes + 63) / 64 * 64;
  const bool finite = std::isfinite(magnitude_max(x, n_cols));
  if (finite) std::memcpy(out, x, bytes);
  const uint64_t kept = finite ? bytes : 0;
  std::memset(static_cast<uint8_t*>(out) + kept, 0, padded_bytes - kept);
  return finite;
}

}  // namespace hypura::kernels::scalar
