// Marks memory that nobody may look at, where the address sanitizer is built in; nothing elsewhere.
//
// Free slots are poisoned by hand, so that a lease used after its release is seen at the moment it happens.
#pragma once

#include <cstddef>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#define HYPURA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HYPURA_POISON 1
#endif
#endif

#ifdef HYPURA_POISON
#include <sanitizer/asan_interface.h>
#endif

namespace hypura::scheduler {

inline void poison([[maybe_unused]] std::span<const std::byte> bytes) {
#ifdef HYPURA_POISON
  ASAN_POISON_MEMORY_REGION(bytes.data(), bytes.size());
#endif
}
inline void unpoison([[maybe_unused]] std::span<const std::byte> bytes) {
#ifdef HYPURA_POISON
  ASAN_UNPOISON_MEMORY_REGION(bytes.data(), bytes.size());
#endif
}

}  // namespace hypura::scheduler
