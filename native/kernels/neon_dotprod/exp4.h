// Four e^x at once: the same polynomial and order as scalar/exp.h, where it is explained. Internal
// linkage (neon_dotprod.h).
#pragma once

#include <arm_neon.h>

namespace hypura::kernels::neon_dotprod {
namespace {

[[maybe_unused]] inline float32x4_t exp4(float32x4_t x) {
  x = vmaxq_f32(x, vdupq_n_f32(-104.0f));  // both keep NaN
  x = vminq_f32(x, vdupq_n_f32(89.0f));
  const float32x4_t round = vdupq_n_f32(12582912.0f);
  const float32x4_t shifted = vfmaq_f32(round, x, vdupq_n_f32(0x1.715476p+0f));
  const float32x4_t n = vsubq_f32(shifted, round);
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0.693145751953125f));
  r = vfmsq_f32(r, n, vdupq_n_f32(0x1.7f7d1cp-20f));
  float32x4_t g = vdupq_n_f32(0x1.6a23dp-10f);
  g = vfmaq_f32(vdupq_n_f32(0x1.123a2p-7f), g, r);
  g = vfmaq_f32(vdupq_n_f32(0x1.5558f2p-5f), g, r);
  g = vfmaq_f32(vdupq_n_f32(0x1.555492p-3f), g, r);
  g = vfmaq_f32(vdupq_n_f32(0x1.fffffcp-2f), g, r);
  const float32x4_t p = vaddq_f32(vfmaq_f32(r, g, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
  const int32x4_t power = vsubq_s32(vreinterpretq_s32_f32(shifted), vreinterpretq_s32_f32(round));
  const int32x4_t first = vshrq_n_s32(power, 1);
  const int32x4_t rest = vsubq_s32(power, first);
  const int32x4_t bias = vdupq_n_s32(127);
  const int32x4_t scale_first = vshlq_n_s32(vaddq_s32(first, bias), 23);
  const int32x4_t scale_rest = vshlq_n_s32(vaddq_s32(rest, bias), 23);
  return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(scale_first)),
                   vreinterpretq_f32_s32(scale_rest));
}

}  // namespace
}  // namespace hypura::kernels::neon_dotprod
