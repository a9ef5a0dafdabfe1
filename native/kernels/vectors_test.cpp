// What could break: a tail of a vector operation that is skipped, doubled or written past the end;
// another order of addition or of fma in one set; an exp that is wrong in a corner (overflow,
// subnormal results, NaN); rope with its pairs or signs mixed. How we notice: all sets bit for bit
// at every length from 0 to 70, with guard elements after the end, and against formulas in double.
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "native/base/testing.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels {
namespace {

constexpr float kGuard = -98765.0f;

uint32_t bits(float value) {
  return std::isnan(value) ? 0x7fc00000u : std::bit_cast<uint32_t>(value);
}

std::vector<float> random_floats(uint32_t n, std::mt19937& rng) {
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& value : x) value = normal(rng) * (rng() % 8 == 0 ? 30.0f : 1.0f);
  return x;
}

// Runs `operation(set, y)` on a copy of `y` for each set; the results must have equal bits and an
// untouched guard behind them. Returns the scalar result.
std::vector<float> same_on_all_sets(
    const char* what, const std::vector<float>& y,
    const std::function<void(const KernelSet&, float*)>& operation) {
  std::vector<float> first;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    std::vector<float> result = y;
    result.resize(y.size() + 16, kGuard);
    operation(**set, result.data());
    for (size_t i = y.size(); i < result.size(); ++i) EXPECT_EQ(result[i], kGuard);
    result.resize(y.size());
    if (first.empty()) first = result;
    for (size_t i = 0; i < y.size(); ++i)
      if (bits(first[i]) != bits(result[i]))
        ::hypura::testing::fail(__FILE__, __LINE__,
                                std::string(what) + " of " + std::to_string(y.size()) + " on " +
                                    (*set)->name + ": element " + std::to_string(i) + " is " +
                                    std::to_string(result[i]) + ", scalar " +
                                    std::to_string(first[i]));
  }
  return first;
}

void expect_close(const char* what, double got, double want, double relative, double absolute) {
  if (std::isnan(got) || std::fabs(got - want) > relative * std::fabs(want) + absolute)
    ::hypura::testing::fail(
        __FILE__, __LINE__,
        std::string(what) + ": " + std::to_string(got) + " instead of " + std::to_string(want));
}

std::vector<uint32_t> lengths() {
  std::vector<uint32_t> all;
  for (uint32_t n = 0; n <= 70; ++n) all.push_back(n);
  all.insert(all.end(), {255, 256, 257, 1000, 4096});
  return all;
}

TEST(pointwise_operations_agree_and_follow_their_formulas) {
  std::mt19937 rng(1);
  for (const uint32_t n : lengths()) {
    const std::vector<float> x = random_floats(n, rng), y = random_floats(n, rng);
    const auto check = [&](const char* what,
                           const std::function<void(const KernelSet&, float*)>& run,
                           const std::function<double(double, double)>& formula) {
      const std::vector<float> got = same_on_all_sets(what, y, run);
      for (uint32_t i = 0; i < n; ++i) expect_close(what, got[i], formula(x[i], y[i]), 2e-6, 1e-6);
    };
    check(
        "add", [&](const KernelSet& set, float* out) { set.add(x.data(), n, out); },
        [](double a, double b) { return a + b; });
    check(
        "add_scaled",
        [&](const KernelSet& set, float* out) { set.add_scaled(x.data(), 0.37f, n, out); },
        [](double a, double b) { return a * 0.37f + b; });
    check(
        "scale", [&](const KernelSet& set, float* out) { set.scale(-1.7f, n, out); },
        [](double, double b) { return b * -1.7f; });
    check(
        "sigmoid", [&](const KernelSet& set, float* out) { set.sigmoid(out, n); },
        [](double, double b) { return 1 / (1 + std::exp(-b)); });
    check(
        "silu_mul",
        [&](const KernelSet& set, float* out) { set.silu_mul(x.data(), y.data(), n, out); },
        [](double a, double b) { return a / (1 + std::exp(-a)) * b; });
    check(
        "silu_mul in place",
        [&](const KernelSet& set, float* out) { set.silu_mul(out, x.data(), n, out); },
        [](double a, double b) { return b / (1 + std::exp(-b)) * a; });
    check(
        "gelu_mul",
        [&](const KernelSet& set, float* out) { set.gelu_mul(x.data(), y.data(), n, out); },
        [](double a, double b) {
          return 0.5 * a * (1 + std::tanh(std::sqrt(2 / M_PI) * (a + 0.044715 * a * a * a))) * b;
        });
  }
}

TEST(activation_functions_hold_at_the_ends) {
  const std::vector<float> gate = {0.0f,     -0.0f,  1e-40f, 88.0f,  89.0f,  1000.0f,
                                   1e30f,    3e38f,  -87.0f, -88.0f, -89.0f, -104.0f,
                                   -1000.0f, -1e30f, 20.0f,  -20.0f};
  const std::vector<float> one(gate.size(), 1.0f);
  const uint32_t n = static_cast<uint32_t>(gate.size());
  const std::vector<float> silu = same_on_all_sets(
      "silu", gate,
      [&](const KernelSet& set, float* out) { set.silu_mul(gate.data(), one.data(), n, out); });
  const std::vector<float> gelu = same_on_all_sets(
      "gelu", gate,
      [&](const KernelSet& set, float* out) { set.gelu_mul(gate.data(), one.data(), n, out); });
  for (uint32_t i = 0; i < n; ++i) {
    expect_close("silu", silu[i], gate[i] / (1 + std::exp(-double{gate[i]})), 2e-6, 1e-35);
    expect_close("gelu", gelu[i],
                 gate[i] > 10    ? gate[i]
                 : gate[i] < -10 ? 0
                                 : 0.5 * gate[i],
                 2e-6, 1e-35);
  }
}

TEST(rms_norm_agrees_and_follows_its_formula) {
  std::mt19937 rng(2);
  for (const uint32_t n : lengths()) {
    if (n == 0) continue;
    const std::vector<float> x = random_floats(n, rng), weight = random_floats(n, rng);
    double squares = 0;
    for (const float value : x) squares += double{value} * value;
    const double inverse = 1 / std::sqrt(squares / n + 1e-5f);
    const std::vector<float> plain = same_on_all_sets(
        "rms_norm", x,
        [&](const KernelSet& set, float* out) { set.rms_norm(out, nullptr, n, 1e-5f, out); });
    const std::vector<float> weighted =
        same_on_all_sets("rms_norm with weight", x, [&](const KernelSet& set, float* out) {
          set.rms_norm(x.data(), weight.data(), n, 1e-5f, out);
        });
    for (uint32_t i = 0; i < n; ++i) {
      expect_close("rms_norm", plain[i], x[i] * inverse, 2e-6, 0);
      expect_close("rms_norm with weight", weighted[i], x[i] * inverse * weight[i], 2e-6, 0);
    }
  }
}

TEST(dot_agrees_and_follows_its_formula) {
  std::mt19937 rng(3);
  for (const uint32_t n : lengths()) {
    const std::vector<float> x = random_floats(n, rng), y = random_floats(n, rng);
    const std::vector<float> got = same_on_all_sets(
        "dot", {0.0f},
        [&](const KernelSet& set, float* out) { *out = set.dot(x.data(), y.data(), n); });
    double want = 0, size = 0;
    for (uint32_t i = 0; i < n; ++i) {
      want += double{x[i]} * y[i];
      size += std::fabs(double{x[i]} * y[i]);
    }
    expect_close("dot", got[0], want, 0, 1e-6 * size);
  }
}

TEST(missing_elements_leave_their_lane_alone) {
  // Products of -1e-60 underflow: every lane ends as -0, and a +0 added for a missing element would
  // turn the sum to +0.
  const std::vector<float> x(64, -1e-30f), y(64, 1e-30f);
  for (uint32_t n = 16; n <= 64; ++n) {
    const std::vector<float> got = same_on_all_sets(
        "dot", {0.0f},
        [&](const KernelSet& set, float* out) { *out = set.dot(x.data(), y.data(), n); });
    EXPECT_EQ(bits(got[0]), bits(-0.0f));
  }
}

TEST(softmax_agrees_and_follows_its_formula) {
  std::mt19937 rng(4);
  for (const uint32_t n : lengths()) {
    const std::vector<float> x = random_floats(n, rng);
    const std::vector<float> got = same_on_all_sets(
        "softmax", x, [&](const KernelSet& set, float* out) { set.softmax(out, n); });
    double max = -INFINITY, sum = 0, total = 0;
    for (const float value : x) max = std::max(max, double{value});
    for (const float value : x) sum += std::exp(value - max);
    for (uint32_t i = 0; i < n; ++i) {
      expect_close("softmax", got[i], std::exp(x[i] - max) / sum, 5e-6, 1e-12);
      total += got[i];
    }
    if (n > 0) expect_close("softmax total", total, 1, 1e-5, 0);
  }
}

// e^x seen through the softmax of {0, x}: for x <= 0, e^x / (1 + e^x).
TEST(exp_is_within_two_ulp_and_holds_at_the_ends) {
  for (double x = -104.5; x <= 0; x += 0.00173) {
    const float element = static_cast<float>(x);
    const std::vector<float> got = same_on_all_sets(
        "exp", {0.0f, element}, [&](const KernelSet& set, float* out) { set.softmax(out, 2); });
    const double e = std::exp(double{element}), want = e / (1 + e);
    const double ulp = std::ldexp(1.0, std::max(std::ilogb(want) - 23, -149));
    EXPECT(std::fabs(got[1] - want) <= 2.5 * ulp);
  }
  const std::vector<float> ends =
      same_on_all_sets("exp", {0.0f, -INFINITY, -1e30f, -104.0f, -103.9f},
                       [&](const KernelSet& set, float* out) { set.softmax(out, 5); });
  EXPECT_EQ(ends[0], 1.0f);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(bits(ends[i]), 0u);
}

TEST(nan_spreads_through_softmax) {
  for (uint32_t at = 0; at < 19; ++at) {
    std::vector<float> x(19, 1.0f);
    x[at] = NAN;
    const std::vector<float> got = same_on_all_sets(
        "softmax", x, [&](const KernelSet& set, float* out) { set.softmax(out, 19); });
    for (const float value : got) EXPECT(std::isnan(value));
  }
}

TEST(rope_agrees_and_rotates_the_right_pairs) {
  std::mt19937 rng(5);
  for (const bool neox : {false, true})
    for (const uint32_t n_pairs : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 12u, 16u, 20u, 32u, 64u}) {
      const uint32_t n_heads = 3,
                     stride = 2 * n_pairs + 5;  // five elements of each head are not rotated
      const std::vector<float> heads = random_floats(n_heads * stride, rng);
      std::vector<float> cosines(n_pairs), sines(n_pairs);
      for (uint32_t i = 0; i < n_pairs; ++i) {
        const double angle = 0.1 + 1.3 * i;
        cosines[i] = static_cast<float>(std::cos(angle));
        sines[i] = static_cast<float>(std::sin(angle));
      }
      const std::vector<float> got =
          same_on_all_sets("rope", heads, [&](const KernelSet& set, float* out) {
            set.rope(out, n_heads, stride, n_pairs, cosines.data(), sines.data(), neox);
          });
      std::vector<double> want(heads.begin(), heads.end());
      for (uint32_t h = 0; h < n_heads; ++h)
        for (uint32_t i = 0; i < n_pairs; ++i) {
          const uint32_t a = h * stride + (neox ? i : 2 * i), b = neox ? a + n_pairs : a + 1;
          want[a] = double{heads[a]} * cosines[i] - double{heads[b]} * sines[i];
          want[b] = double{heads[a]} * sines[i] + double{heads[b]} * cosines[i];
        }
      for (size_t i = 0; i < want.size(); ++i) expect_close("rope", got[i], want[i], 1e-6, 1e-5);
    }
}

}  // namespace
}  // namespace hypura::kernels
