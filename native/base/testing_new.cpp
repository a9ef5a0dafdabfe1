// operator new of native test programs: aborts inside a sweep (hot_path_guard.h).
#include <cstdio>
#include <cstdlib>
#include <new>

#include "native/base/hot_path_guard.h"

void* operator new(std::size_t bytes) {
  if (hypura::hot_path_is_guarded()) {
    std::fprintf(stderr, "hypura bug: allocation of %zu bytes inside a sweep\n", bytes);
    std::abort();
  }
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
// Stable sorts allocate by this one; without it the sanitizers pair their own with our delete.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
