#include "native/model/rope.h"

#include <cmath>
#include <string>

namespace hypura::model {
namespace {

// pi / 2 as a sum of two pieces of 33 bits and a rest of 53: for a count of quarter turns below 2^20 the products with the
// pieces are exact, and the rest is only rounded where it no longer matters (Cody and Waite 1980).
constexpr double kHalfPi1 = 0x1.921fb544p+0;
constexpr double kHalfPi2 = 0x1.0b4611a6p-34;
constexpr double kHalfPi3 = 0x1.3198a2e037073p-69;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
// Adding and subtracting it rounds a double below 2^51 to an integer, halves to even.
constexpr double kRounder = 0x1.8p+52;

// Taylor series on [-pi/4, pi/4]; the first term left out is below 2^-58.
double sine_of(double r) {
  const double z = r * r;
  double p = 1.0 / 355687428096000.0;
  p = p * z - 1.0 / 1307674368000.0;
  p = p * z + 1.0 / 6227020800.0;
  p = p * z - 1.0 / 39916800.0;
  p = p * z + 1.0 / 362880.0;
  p = p * z - 1.0 / 5040.0;
  p = p * z + 1.0 / 120.0;
  p = p * z - 1.0 / 6.0;
  return r + r * z * p;
}

double cosine_of(double r) {
  const double z = r * r;
  double p = 1.0 / 20922789888000.0;
  p = p * z - 1.0 / 87178291200.0;
  p = p * z + 1.0 / 479001600.0;
  p = p * z - 1.0 / 3628800.0;
  p = p * z + 1.0 / 40320.0;
  p = p * z - 1.0 / 720.0;
  p = p * z + 1.0 / 24.0;
  return 1.0 - (0.5 * z - z * z * p);
}

}  // namespace

SineCosine sine_cosine(double angle) {
  const double turns = (angle * kTwoOverPi + kRounder) - kRounder;
  const double r = ((angle - turns * kHalfPi1) - turns * kHalfPi2) - turns * kHalfPi3;
  const double s = sine_of(r);
  const double c = cosine_of(r);
  switch (static_cast<int32_t>(turns) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

Result<RopeAngles> RopeAngles::create(const ModelSpec& spec, std::span<const double> inv_freq,
                                      uint32_t n_ctx) {
  if (inv_freq.size() != spec.n_rot / 2)
    return Status::error(Code::kBadLoad, "rope needs " + std::to_string(spec.n_rot / 2) +
                                             " inverse frequencies, the model gives " +
                                             std::to_string(inv_freq.size()));
  for (const double frequency : inv_freq) {
    if (!std::isfinite(frequency))
      return Status::error(Code::kBadLoad, "an inverse frequency of rope is not finite");
    if (std::abs(frequency) * n_ctx > kRopeAngleMax)
      return Status::error(
          Code::kUnsupported,
          "rope turns by " + std::to_string(frequency) +
              " radians per position, too far for a context of " + std::to_string(n_ctx) +
              ". Lower the context length to " +
              std::to_string(static_cast<uint64_t>(kRopeAngleMax / std::abs(frequency))) + ".");
  }
  RopeAngles angles;
  angles.inv_freq_.assign(inv_freq.begin(), inv_freq.end());
  angles.magnitude_ = spec.rope_magnitude;
  return angles;
}

void RopeAngles::at(uint32_t position, float* cosines, float* sines) const {
  for (size_t i = 0; i < inv_freq_.size(); ++i) {
    const SineCosine turned = sine_cosine(static_cast<double>(position) * inv_freq_[i]);
    cosines[i] = static_cast<float>(turned.cosine * magnitude_);
    sines[i] = static_cast<float>(turned.sine * magnitude_);
  }
}

}  // namespace hypura::model
