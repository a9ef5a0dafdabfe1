// Cuts typed arrays out of one piece of memory; without memory it only counts, so that the size that is budgeted and the
// pointers that are used come from the same code.
//
// Arrays begin on multiples of 64 bytes. Sizes are sums of limited numbers (limits.h, load_checks.h) and cannot wrap.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/bytes.h"

namespace hypura::runtime {

class Carver {
 public:
  Carver() = default;  // counts
  explicit Carver(std::byte* memory)
      : memory_(memory) {}  // 64-byte aligned, as large as counting said

  template <typename T>
  T* take(uint64_t count) {
    const uint64_t begin = used_;
    used_ = align_up(used_ + count * sizeof(T), 64);
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + begin);
  }
  uint64_t used_bytes() const { return used_; }

 private:
  std::byte* memory_ = nullptr;
  uint64_t used_ = 0;
};

}  // namespace hypura::runtime
