// What could break: a size that wraps, or a record read past the end of a message. Both would hand memory to a stranger.
#include "native/base/bytes.h"

#include <array>
#include <limits>

#include "native/base/testing.h"

namespace hypura {

TEST(checked_arithmetic_refuses_to_wrap) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(checked_add(kMax, 0).value(), kMax);
  EXPECT(!checked_add(kMax, 1));
  EXPECT(!checked_mul(1ull << 32, 1ull << 32));
  EXPECT_EQ(checked_mul((1ull << 32) - 1, 1ull << 32).value(), ((1ull << 32) - 1) << 32);
}

TEST(reader_never_passes_the_end) {
  std::array<std::byte, 16> bytes{};
  bytes[8] = std::byte{7};
  const MessageReader reader(bytes);
  EXPECT_EQ(reader.record<uint64_t>(8).value(), 7u);
  EXPECT(!reader.record<uint64_t>(9));
  EXPECT(!reader.record<uint8_t>(16));
  EXPECT(!reader.record<uint8_t>(std::numeric_limits<uint64_t>::max()));
  EXPECT(reader.section(0, 2, 8).has_value());
  EXPECT(!reader.section(0, 3, 8));
  EXPECT(!reader.section(8, std::numeric_limits<uint64_t>::max(), 8));
  EXPECT_EQ(reader.section(16, 0, 8)->size(), 0u);
}

TEST(alignment_rounds_to_powers_of_two) {
  EXPECT_EQ(align_down(10016, 4096), 8192u);
  EXPECT_EQ(align_up(894752, 4096), 897024u);
  EXPECT_EQ(align_up(8192, 4096), 8192u);
}

}  // namespace hypura
