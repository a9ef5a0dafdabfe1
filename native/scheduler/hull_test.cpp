// What could break: a hull that does not cover its extent, is not aligned, or is cut into reads that leave a hole. Random
// extents are checked against the definitions, beside the worked example of docs/architecture.md.
#include "native/scheduler/hull.h"

#include <random>

#include "native/base/testing.h"

namespace hypura::scheduler {
namespace {

TEST(hull_worked_example_of_an_expert_gate) {
  constexpr uint64_t kGateBytes = 768ull * 8 * 144;
  static_assert(kGateBytes == 884'736);
  const Hull hull =
      hull_of({.file = 0, .type = 12, .offset_bytes = 10'016, .size_bytes = kGateBytes}, 4096);
  EXPECT_EQ(hull.offset_bytes, 8'192u);
  EXPECT_EQ(hull.offset_bytes + hull.bytes, 897'024u);
  EXPECT_EQ(hull.lead_bytes, 1'824u);
  EXPECT_EQ(hull.bytes / 4096, 217u);
  // An aligned one needs no more pages than it has bytes for.
  EXPECT_EQ(hull_of({.file = 0, .type = 12, .offset_bytes = 8'192, .size_bytes = kGateBytes}, 4096).bytes / 4096,
            216u);
}

TEST(hull_covers_its_extent_tightly) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t alignment = 1u << (random() % 13);
    const Extent extent{.file = 3,
                        .type = 0,
                        .offset_bytes = random() % (1ull << 40),
                        .size_bytes = 1 + random() % (random() % 2 ? 10'000 : 20'000'000)};
    const Hull hull = hull_of(extent, alignment);
    EXPECT(hull.offset_bytes % alignment == 0 && hull.bytes % alignment == 0);
    EXPECT(hull.offset_bytes + hull.lead_bytes == extent.offset_bytes);
    EXPECT(hull.lead_bytes < alignment);
    EXPECT(hull.need_bytes == hull.lead_bytes + extent.size_bytes);
    EXPECT(hull.bytes >= hull.need_bytes && hull.bytes - hull.need_bytes < alignment);
    EXPECT(placed_bytes(hull) <= placed_bytes(hull_of(extent, 4096)));

    uint64_t covered = 0, needed = 0;
    while (covered < hull.bytes) {
      const Piece piece = piece_at(hull, covered);
      EXPECT(piece.bytes > 0 && piece.bytes <= kReadBytesMax && piece.bytes % alignment == 0);
      EXPECT(piece.need_bytes > 0 && piece.need_bytes <= piece.bytes);
      covered += piece.bytes;
      needed += piece.need_bytes;
    }
    EXPECT_EQ(covered, hull.bytes);
    EXPECT_EQ(needed, hull.need_bytes);
  }
}

}  // namespace
}  // namespace hypura::scheduler
