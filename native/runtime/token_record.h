// One generated token, as NativeSequence.drainTokens() delivers it.
#pragma once

#include <cstdint>

namespace hypura::runtime {

// Crosses the border: append only.
inline constexpr uint32_t kTokenFlagStop = 1;  // one of the request's stop tokens

struct TokenRecord {
  uint32_t token;
  uint32_t position;      // of this token in the sequence's timeline
  float log_probability;  // natural, of the full distribution after penalties and before truncation
  uint32_t flags;
};
static_assert(sizeof(TokenRecord) == 16);

}  // namespace hypura::runtime
