// The sixteen values that nibbles of IQ4_NL and IQ4_XS stand for, closer together near zero, where
// most weights lie.
// Source: ggml, kvalues_iq4nl.
#pragma once

#include <cstdint>

namespace hypura::kernels::scalar {

inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

}  // namespace hypura::kernels::scalar
