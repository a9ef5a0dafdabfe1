// What could break: a hole that takes pages with live bytes beside it, pages that stay in memory although they were given back,
// or that do not come back as zeros.
// How we notice: random holes, mincore() as the kernel's own count of what is in memory, and bytes outside compared.
#include "native/nvme_io/arena_hole.h"

#include <sys/mman.h>

#include <algorithm>
#include <random>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/testing.h"
#include "native/nvme_io/arena.h"

namespace hypura::nvme_io {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kBytes = 64 * kPage;

std::vector<bool> in_memory(std::span<std::byte> bytes) {
  std::vector<unsigned char> pages(bytes.size() / kPage);
  EXPECT(::mincore(bytes.data(), bytes.size(), pages.data()) == 0);
  std::vector<bool> present(pages.size());
  std::transform(pages.begin(), pages.end(), present.begin(), [](unsigned char p) { return p & 1; });
  return present;
}

TEST(hole_gives_back_whole_pages_inside_and_nothing_else) {
  Result<Arena> arena = Arena::create(kBytes);
  ASSERT(arena.ok());
  Result<std::span<std::byte>> piece = arena->carve(kBytes, kPage);
  ASSERT(piece.ok());
  // Small pages, whatever the machine prefers: the test counts them.
  (void)::madvise(piece->data(), kBytes, MADV_NOHUGEPAGE);
  std::mt19937_64 random(1);
  for (const uint64_t page_bytes : {kPage, 4 * kPage}) {
    std::vector<std::byte> copy(kBytes);
    const auto fill = [&](uint64_t begin, uint64_t end) {
      for (uint64_t i = begin; i < end; ++i) (*piece)[i] = copy[i] = static_cast<std::byte>(random());
    };
    fill(0, kBytes);
    ArenaHole hole(page_bytes);
    uint64_t hole_begin = 0, hole_end = 0;
    for (int i = 0; i < 200; ++i) {
      const uint64_t first = random() % kBytes;
      const uint64_t size = random() % 4 ? random() % (kBytes - first + 1) : 0;
      EXPECT_OK(hole.move(piece->subspan(first, size)));
      // Counted here once more. The arena begins on a huge page, so offsets align as addresses do.
      uint64_t begin = align_up(first, page_bytes);
      uint64_t end = align_down(first + size, page_bytes);
      if (begin >= end) begin = end = 0;
      EXPECT_EQ(hole.given_back_bytes(), end - begin);
      const std::vector<bool> present = in_memory(*piece);
      for (uint64_t page = 0; page < present.size(); ++page) {
        const bool inside = page * kPage >= begin && page * kPage < end;
        EXPECT_EQ(present[page], !inside);
        if (inside) continue;
        const bool was_inside = page * kPage >= hole_begin && page * kPage < hole_end;
        for (uint64_t at = page * kPage; at < (page + 1) * kPage; ++at)
          if ((*piece)[at] != (was_inside ? std::byte{0} : copy[at])) {
            EXPECT(!"a byte outside of the hole changed");
            break;
          }
        if (was_inside) fill(page * kPage, (page + 1) * kPage);
      }
      hole_begin = begin, hole_end = end;
    }
    EXPECT_OK(hole.move({}));
  }
}

}  // namespace
}  // namespace hypura::nvme_io
