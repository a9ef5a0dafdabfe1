// Rotary embedding on NEON: a' = fma(-b, sin, a * cos), b' = fma(a, sin, b * cos), as in
// scalar/vectors.cpp.
#if defined(__aarch64__)
#include "native/kernels/neon_dotprod/lanes.h"
#include "native/kernels/neon_dotprod/neon_dotprod.h"

namespace hypura::kernels::neon_dotprod {
namespace {

struct Four {
  float32x4_t a;
  float32x4_t b;
};

inline Four rotate(Four pairs, float32x4_t cosines, float32x4_t sines) {
  return {vfmsq_f32(vmulq_f32(pairs.a, cosines), pairs.b, sines),
          vfmaq_f32(vmulq_f32(pairs.b, cosines), pairs.a, sines)};
}

// Pairs (i, i + n_pairs): the two halves of the rotated part.
inline void rotate_halves(float* head, uint32_t n_pairs, const float* cosines, const float* sines) {
  uint32_t i = 0;
  for (; i + 4 <= n_pairs; i += 4) {
    const Four turned = rotate({vld1q_f32(head + i), vld1q_f32(head + n_pairs + i)},
                               vld1q_f32(cosines + i), vld1q_f32(sines + i));
    vst1q_f32(head + i, turned.a);
    vst1q_f32(head + n_pairs + i, turned.b);
  }
  const uint32_t rest = n_pairs - i;
  const Four turned = rotate({load_first(head + i, rest), load_first(head + n_pairs + i, rest)},
                             load_first(cosines + i, rest), load_first(sines + i, rest));
  store_first(head + i, rest, turned.a);
  store_first(head + n_pairs + i, rest, turned.b);
}

// Pairs (2 i, 2 i + 1).
inline void rotate_neighbours(float* head, uint32_t n_pairs, const float* cosines,
                              const float* sines) {
  uint32_t i = 0;
  for (; i + 4 <= n_pairs; i += 4) {
    const float32x4x2_t pairs = vld2q_f32(head + 2 * i);
    const Four turned = rotate({pairs.val[0], pairs.val[1]}, vld1q_f32(cosines + i),
                               vld1q_f32(sines + i));
    vst2q_f32(head + 2 * i, float32x4x2_t{{turned.a, turned.b}});
  }
  const uint32_t rest = n_pairs - i;
  float last[8] = {};
  __builtin_memcpy(last, head + 2 * i, 2 * rest * sizeof(float));
  const float32x4x2_t pairs = vld2q_f32(last);
  const Four turned = rotate({pairs.val[0], pairs.val[1]}, load_first(cosines + i, rest),
                             load_first(sines + i, rest));
  vst2q_f32(last, float32x4x2_t{{turned.a, turned.b}});
  __builtin_memcpy(head + 2 * i, last, 2 * rest * sizeof(float));
}

}  // namespace

void rope(float* heads, uint32_t n_heads, uint32_t head_stride, uint32_t n_pairs,
          const float* cosines, const float* sines, bool neox) {
  const auto rotate_head = neox ? rotate_halves : rotate_neighbours;
  for (uint32_t h = 0; h < n_heads; ++h)
    rotate_head(heads + static_cast<uint64_t>(h) * head_stride, n_pairs, cosines, sines);
}

}  // namespace hypura::kernels::neon_dotprod

#endif  // __aarch64__
