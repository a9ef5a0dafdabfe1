// Checked arithmetic and a bounds-checked reader for messages that come from the other side of the border.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace hypura {

// a + b and a * b, or nothing when the result does not fit in 64 bits.
inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// alignment: a power of two. align_up wraps only within `alignment` of 2^64; callers hold file offsets, far below.
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

// A message as plain little-endian bytes, read by copying records out of it: any alignment, never past the end.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  size_t size() const { return bytes_.size(); }

  // One record of a trivially copyable type at `offset`; nothing when it would pass the end.
  template <typename T>
  std::optional<T> record(uint64_t offset) const {
    static_assert(std::is_trivially_copyable_v<T>);
    if (offset > bytes_.size() || sizeof(T) > bytes_.size() - offset) return std::nullopt;
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  // `count` records of `record_bytes` at `offset`, as raw bytes; nothing when they would pass the end.
  std::optional<std::span<const std::byte>> section(uint64_t offset, uint64_t count,
                                                    uint64_t record_bytes) const {
    const std::optional<uint64_t> bytes = checked_mul(count, record_bytes);
    if (!bytes || offset > bytes_.size() || *bytes > bytes_.size() - offset) return std::nullopt;
    return bytes_.subspan(offset, *bytes);
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace hypura
