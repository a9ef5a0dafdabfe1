// CHECK: what only our own bug can break. Kept in release builds, outside hot code; DCHECK is for hot code and debug.
//
// Nothing that a file, a disk or a caller can cause may reach a CHECK: the host is somebody's desktop application.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) [[unlikely]] {                                                  \
      std::fprintf(stderr, "hypura bug: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                   \
    }                                                                                 \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition) \
  do {                    \
  } while (false)
#else
#define DCHECK(condition) CHECK(condition)
#endif
