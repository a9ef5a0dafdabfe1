// Names of error codes as they cross the border (nativeCodes of ts/native/native-binding.ts).
#pragma once

#include <array>
#include <cstddef>

#include "native/base/status.h"

namespace hypura::runtime {

// By number of hypura::Code: append only.
inline constexpr std::array kCodeNames = {
    "ok",   "invalid-argument", "bad-load",    "bad-plan",  "insufficient-memory",
    "io",   "model-changed",    "non-finite",  "cancelled", "closed",
    "busy", "context-overflow", "unsupported", "internal",  "mirror-mismatch",
};
static_assert(kCodeNames.size() == static_cast<size_t>(Code::kMirrorMismatch) + 1);

constexpr const char* code_name(Code code) { return kCodeNames[static_cast<size_t>(code)]; }

}  // namespace hypura::runtime
