// Angles of rotary position embedding: cosines and sines per position, the same bits on every machine.
//
// Why our own sine: libm differs between systems in the last bit, and a logit would with it (rule E8). Angle, reduction and
// polynomials are plain double arithmetic; only the result is rounded to float.
// Immutable after create, thread-safe.   Allocates: in create().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/base/status.h"
#include "native/model/model_spec.h"

namespace hypura::model {

// Largest angle in radians whose sine is exact enough; the argument reduction counts quarter turns in 20 bits.
inline constexpr double kRopeAngleMax = 1048576.0;

struct SineCosine {
  double sine;
  double cosine;
};

// |angle| <= kRopeAngleMax. Relative error a few times 2^-53, so the float nearest to it is right or next to right.
SineCosine sine_cosine(double angle);

class RopeAngles {
 public:
  // inv_freq: spec.n_rot / 2 radians per position. Errors: kBadLoad for a wrong count or a frequency that is not finite,
  // kUnsupported when position n_ctx - 1 turns further than kRopeAngleMax.
  static Result<RopeAngles> create(const ModelSpec& spec, std::span<const double> inv_freq,
                                   uint32_t n_ctx);

  // cosines, sines (n_rot / 2): of position * inv_freq, times the model's rope magnitude.
  void at(uint32_t position, float* cosines, float* sines) const;

 private:
  std::vector<double> inv_freq_;
  double magnitude_ = 1;
};

}  // namespace hypura::model
