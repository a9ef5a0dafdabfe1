// What could break: the argument reduction loses bits at large angles or in one quadrant, or the tables mix up sine and
// cosine. How we notice: libm in double precision is the second implementation; floats may differ by one unit in the last
// place at most, over positions to 2^20, all quadrants and angles close to multiples of pi / 2.
#include "native/model/rope.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "native/base/testing.h"

namespace hypura::model {
namespace {

// Steps between two floats on the number line.
uint64_t steps_apart(float a, float b) {
  const auto place = [](float x) {
    const auto bits = std::bit_cast<int32_t>(x);
    return int64_t{bits < 0 ? std::numeric_limits<int32_t>::min() - bits : bits};
  };
  return static_cast<uint64_t>(std::abs(place(a) - place(b)));
}

bool agrees(double angle) {
  const SineCosine ours = sine_cosine(angle);
  const bool ok =
      steps_apart(static_cast<float>(ours.sine), static_cast<float>(std::sin(angle))) <= 1 &&
      steps_apart(static_cast<float>(ours.cosine), static_cast<float>(std::cos(angle))) <= 1;
  if (!ok) std::cerr << "  angle " << angle << "\n";
  return ok;
}

ModelSpec rope_spec(uint32_t n_rot, float magnitude) {
  ModelSpec spec{};
  spec.n_rot = n_rot;
  spec.rope = RopeKind::kNeox;
  spec.rope_magnitude = magnitude;
  return spec;
}

TEST(sine_and_cosine_agree_with_libm_everywhere) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> any(-kRopeAngleMax, kRopeAngleMax);
  std::uniform_real_distribution<double> small(-10, 10);
  for (int i = 0; i < 200000; ++i) {
    ASSERT(agrees(any(random)));
    ASSERT(agrees(small(random)));
  }
  for (double position = 0; position <= kRopeAngleMax; position += 97) ASSERT(agrees(position));
}

TEST(sine_and_cosine_agree_with_libm_next_to_quarter_turns) {
  const double half_pi = std::acos(0.0);
  for (uint32_t turn = 0; turn < 660000; turn += 13) {
    const double angle = turn * half_pi;
    ASSERT(agrees(angle));
    ASSERT(agrees(std::nextafter(angle, 0.0)));
    ASSERT(agrees(-std::nextafter(angle, 1e9)));
  }
}

TEST(rope_angles_are_position_times_frequency_times_magnitude) {
  const double inv_freq[] = {1.0, 0.1, 1.0 / 500000};
  const auto angles = RopeAngles::create(rope_spec(6, 1.25f), inv_freq, 131072);
  ASSERT(angles.ok());
  for (const uint32_t position : {0u, 1u, 255u, 4096u, 131071u}) {
    float cosines[3], sines[3];
    angles.value().at(position, cosines, sines);
    for (int i = 0; i < 3; ++i) {
      const double angle = position * inv_freq[i];
      EXPECT(steps_apart(cosines[i], static_cast<float>(std::cos(angle) * 1.25)) <= 1);
      EXPECT(steps_apart(sines[i], static_cast<float>(std::sin(angle) * 1.25)) <= 1);
    }
  }
}

TEST(rope_refuses_what_it_cannot_turn_exactly) {
  const double too_fast[] = {600.0};
  const double not_finite[] = {std::numeric_limits<double>::infinity()};
  const double two[] = {1.0, 0.5};
  EXPECT(RopeAngles::create(rope_spec(2, 1), too_fast, 4096).status().code() == Code::kUnsupported);
  EXPECT(RopeAngles::create(rope_spec(2, 1), not_finite, 4096).status().code() == Code::kBadLoad);
  EXPECT(RopeAngles::create(rope_spec(2, 1), two, 4096).status().code() == Code::kBadLoad);
}

}  // namespace
}  // namespace hypura::model
