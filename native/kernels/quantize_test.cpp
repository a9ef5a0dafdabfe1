// What could break: a scale of the wrong rule, a rounding that is not half to even, q = -128, NaN
// or infinity converted to an integer, a tail that is not zero, sums that do not belong to q. How
// we notice: a second implementation in double for both forms, byte equality between sets, and the
// edge values by hand.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "native/base/testing.h"
#include "native/kernels/activations.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/quant_types.h"

namespace hypura::kernels {
namespace {

constexpr ActivationForm kForms[] = {ActivationForm::kF32, ActivationForm::kA32,
                                     ActivationForm::kA256};

// The output of the first set, after comparing all sets byte by byte. Storage is dirty before, to
// see what is not written.
struct Quantized {
  std::vector<ActivationA256> storage;  // 64-byte aligned units of 320 bytes, enough for any form
  uint64_t bytes = 0;
  bool finite = false;

  Quantized(ActivationForm form, const std::vector<float>& x) {
    const uint32_t n = static_cast<uint32_t>(x.size());
    bytes = activation_bytes(form, n);
    storage.resize(bytes / sizeof(ActivationA256) + 1);
    std::vector<ActivationA256> other(storage.size());
    for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
      std::vector<ActivationA256>& target = set == runnable_kernel_sets() ? storage : other;
      std::memset(static_cast<void*>(target.data()), 0x5a, target.size() * sizeof(ActivationA256));
      const bool ok = (*set)->quantize(form)(x.data(), n, target.data());
      if (&target == &storage) finite = ok;
      EXPECT_EQ(ok, finite);
      EXPECT(std::memcmp(storage.data(), target.data(), target.size() * sizeof(ActivationA256)) ==
             0);
    }
  }
  const ActivationA256& a256(size_t i) const { return storage[i]; }
  const ActivationA32& a32(size_t i) const {
    return reinterpret_cast<const ActivationA32*>(storage.data())[i];
  }
  const float* f32() const { return reinterpret_cast<const float*>(storage.data()); }
  bool all_zero() const {
    const uint8_t* p = reinterpret_cast<const uint8_t*>(storage.data());
    for (uint64_t i = 0; i < bytes; ++i)
      if (p[i] != 0) return false;
    return true;
  }
};

// Nearest integer, halves to the even one, without the processor's rounding.
int nearest_even(double x) {
  const double below = std::floor(x), rest = x - below;
  if (rest < 0.5) return static_cast<int>(below);
  if (rest > 0.5) return static_cast<int>(below) + 1;
  const int low = static_cast<int>(below);
  return low % 2 == 0 ? low : low + 1;
}

TEST(a256_follows_its_rule) {
  std::mt19937 rng(1);
  std::normal_distribution<float> normal;
  for (const uint32_t n : {256u, 512u, 300u, 1u, 255u}) {
    std::vector<float> x(n);
    for (float& value : x)
      value = normal(rng) * std::ldexp(1.0f, static_cast<int>(rng() % 40) - 20);
    const Quantized got(ActivationForm::kA256, x);
    EXPECT(got.finite);
    x.resize((n + 255) / 256 * 256);
    for (size_t b = 0; b < x.size() / 256; ++b) {
      const ActivationA256& a = got.a256(b);
      float amax = 0;
      for (int i = 0; i < 256; ++i) amax = std::max(amax, std::fabs(x[256 * b + i]));
      const float inverse = 127.0f / amax;
      EXPECT_EQ(a.d, 1.0f / inverse);
      for (int i = 0; i < 256; ++i) {
        const float product = x[256 * b + i] * inverse;
        EXPECT_EQ(int(a.q[i]), nearest_even(product));
      }
      for (int j = 0; j < 16; ++j) {
        int sum = 0;
        for (int i = 0; i < 16; ++i) sum += a.q[16 * j + i];
        EXPECT_EQ(int(a.sum16[j]), sum);
        if (j % 2 == 1) EXPECT_EQ(int(a.sum32[j / 2]), sum + a.sum16[j - 1]);
      }
    }
  }
}

TEST(a32_follows_its_rule) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal;
  for (const uint32_t n : {32u, 64u, 256u, 288u, 1024u, 33u}) {
    std::vector<float> x(n);
    for (float& value : x)
      value = normal(rng) * std::ldexp(1.0f, static_cast<int>(rng() % 20) - 10);
    const Quantized got(ActivationForm::kA32, x);
    EXPECT(got.finite);
    x.resize((n + 255) / 256 * 256);
    for (size_t block = 0; block < x.size() / 32; ++block) {
      const ActivationA32& a = got.a32(block / 8);
      const size_t k = block % 8;
      float amax = 0;
      for (int i = 0; i < 32; ++i) amax = std::max(amax, std::fabs(x[32 * block + i]));
      const float d = amax / 127.0f;
      EXPECT(std::fabs(a.d[k] - d) <= d * 0x1p-11f + 0x1p-25f);
      int sum = 0;
      for (int i = 0; i < 32; ++i) {
        const int want = amax > 0 ? nearest_even(x[32 * block + i] * (1.0f / d)) : 0;
        EXPECT_EQ(int(a.q[k][i]), want);
        sum += want;
      }
      EXPECT_EQ(a.sum[k], sum);
    }
  }
}

TEST(halves_round_to_even_in_both_forms) {
  std::vector<float> x(256, 0.0f);
  x[0] = 127.0f;  // the scale is 1
  const float inputs[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f, 126.5f};
  const int wanted[] = {0, 2, 2, 0, -2, -2, 126, 126};
  for (int i = 0; i < 8; ++i) x[i + 1] = inputs[i];
  const Quantized a256(ActivationForm::kA256, x), a32(ActivationForm::kA32, x);
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(int(a256.a256(0).q[i + 1]), wanted[i]);
    EXPECT_EQ(int(a32.a32(0).q[0][i + 1]), wanted[i]);
  }
}

TEST(zeros_and_the_smallest_floats_become_zero) {
  for (const float value : {0.0f, -0.0f, 1e-45f, -1e-38f}) {
    const std::vector<float> x(300, value);
    EXPECT(Quantized(ActivationForm::kA256, x).all_zero());
  }
  EXPECT(Quantized(ActivationForm::kA32, std::vector<float>(300, 0.0f)).all_zero());
  EXPECT(Quantized(ActivationForm::kA32, std::vector<float>(300, 1e-44f)).all_zero());
}

TEST(nothing_leaves_the_range_at_any_magnitude) {
  for (int exponent = -149; exponent < 128; ++exponent)
    for (const float mantissa : {1.0f, 1.9999999f, 1.3333334f}) {
      const float size = std::ldexp(mantissa, exponent);
      std::vector<float> x(256, size);
      x[1] = -size;
      const Quantized a256(ActivationForm::kA256, x), a32(ActivationForm::kA32, x);
      EXPECT(a256.finite);
      EXPECT(std::isfinite(a256.a256(0).d));
      EXPECT(a256.a256(0).q[1] >= -127 && a256.a256(0).q[1] == -a256.a256(0).q[0]);
      EXPECT_EQ(a32.finite, size <= 127.0f * 65519.0f);
      EXPECT(a32.a32(0).q[0][1] >= -127 && a32.a32(0).q[0][1] == -a32.a32(0).q[0][0]);
    }
}

TEST(a_nan_or_infinity_anywhere_is_reported_and_leaves_zeros) {
  for (const ActivationForm form : kForms)
    for (const uint32_t n : {1u, 31u, 32u, 256u, 300u, 700u})
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
            std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
        for (const uint32_t at : {0u, n / 2, n - 1}) {
          std::vector<float> x(n, 1.0f);
          x[at] = bad;
          const Quantized got(form, x);
          EXPECT(!got.finite);
          EXPECT(got.all_zero());
        }
}

TEST(the_float_form_is_a_padded_copy) {
  for (const uint32_t n : {1u, 15u, 16u, 17u, 100u}) {
    std::vector<float> x(n);
    for (uint32_t i = 0; i < n; ++i) x[i] = static_cast<float>(i) - 3.5f;
    const Quantized got(ActivationForm::kF32, x);
    EXPECT(got.finite);
    EXPECT_EQ(got.bytes, uint64_t{(n + 15) / 16 * 64});
    for (uint32_t i = 0; i < got.bytes / 4; ++i) EXPECT_EQ(got.f32()[i], i < n ? x[i] : 0.0f);
  }
}

TEST(a_result_is_half_of_its_float_when_narrowed) {
  // All binary16 values, their neighbours half-way up, and both sides of that half-way point.
  std::vector<float> x;
  for (uint32_t h = 0; h < 0x7c00; ++h) {
    const double value =
        h < 1024 ? std::ldexp(h, -24) : std::ldexp(1024 + h % 1024, int(h / 1024) - 25);
    const double next = h + 1 < 1024 ? std::ldexp(h + 1, -24)
                                     : std::ldexp(1024 + (h + 1) % 1024, int((h + 1) / 1024) - 25);
    const float middle = static_cast<float>((value + next) / 2);
    for (const float v : {static_cast<float>(value), middle, std::nextafter(middle, 0.0f),
                          std::nextafter(middle, 1e9f)}) {
      x.push_back(v);
      x.push_back(-v);
    }
  }
  for (const float v : {65519.9f, 65520.0f, 1e30f, 1e-30f, INFINITY, NAN}) x.push_back(v);
  std::vector<uint16_t> want(x.size()), got(x.size());
  (*runnable_kernel_sets())->to_f16(x.data(), static_cast<uint32_t>(x.size()), want.data());
  for (size_t i = 0; i + 6 < x.size(); ++i) {
    const uint32_t h = static_cast<uint32_t>(i / 8), kind = i % 8 / 2;
    const uint32_t rounded = kind == 0 || kind == 2 ? h : kind == 3 ? h + 1 : h + (h & 1);
    EXPECT_EQ(uint32_t(want[i]), rounded | (i % 2 == 1 ? 0x8000u : 0u));
  }
  const uint32_t last[] = {0x7bff, 0x7c00, 0x7c00, 0, 0x7c00, 0x7e00};
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(uint32_t(want[x.size() - 6 + i]), last[i]);
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    (*set)->to_f16(x.data(), static_cast<uint32_t>(x.size()), got.data());
    EXPECT(got == want);
  }
}

}  // namespace
}  // namespace hypura::kernels
