// What could break: memory that is not aligned for direct reads and huge pages, two pieces that overlap, a size that wraps.
// How we notice: addresses are checked, each piece is filled with its own byte, and absurd sizes must end as typed errors.
#include "native/nvme_io/arena.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>

#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/nvme_io/io_testing.h"

namespace hypura::nvme_io {
namespace {

using namespace hypura::nvme_io::testing;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
uint64_t address(std::span<std::byte> piece) { return reinterpret_cast<uintptr_t>(piece.data()); }

TEST(arena_begins_on_a_huge_page_and_rounds_up_to_small_ones) {
  const std::array<uint64_t, 7> sizes = {
      0, 1, 4096, 4097, kHugePageBytes - 1, kHugePageBytes + 1, 9u << 20};
  for (const uint64_t bytes : sizes) {
    Result<Arena> arena = Arena::create(bytes);
    ASSERT(arena.ok());
    EXPECT_EQ(arena->size_bytes(), (bytes + 4095) / 4096 * 4096);
    EXPECT_EQ(arena->carved_bytes(), 0u);
    Result<std::span<std::byte>> piece = arena->carve(0, 1);
    ASSERT(piece.ok());
    EXPECT_EQ(address(*piece) % kHugePageBytes, 0u);
  }
}

TEST(pieces_are_aligned_and_do_not_overlap_up_to_the_last_byte) {
  Result<Arena> arena = Arena::create(5u << 20);
  ASSERT(arena.ok());
  struct Piece {
    uint64_t bytes, alignment;
  };
  std::vector<std::span<std::byte>> pieces;
  for (const Piece& want : {Piece{1, 1}, Piece{100, 64}, Piece{4096, 4096}, Piece{3, 1},
                            Piece{1u << 20, 2u << 20}, Piece{17, 32}}) {
    Result<std::span<std::byte>> piece = arena->carve(want.bytes, want.alignment);
    ASSERT(piece.ok());
    EXPECT_EQ(piece->size(), want.bytes);
    EXPECT_EQ(address(*piece) % want.alignment, 0u);
    pieces.push_back(*piece);
  }
  const uint64_t left = arena->size_bytes() - arena->carved_bytes();
  Result<std::span<std::byte>> rest = arena->carve(left, 1);
  ASSERT(rest.ok());
  pieces.push_back(*rest);
  EXPECT_EQ(arena->carved_bytes(), arena->size_bytes());
  for (size_t i = 0; i < pieces.size(); ++i)
    std::memset(pieces[i].data(), static_cast<int>(i + 1), pieces[i].size());
  for (size_t i = 0; i < pieces.size(); ++i)
    for (const std::byte value : pieces[i]) ASSERT(value == std::byte(i + 1));

  Result<std::span<std::byte>> nothing = arena->carve(0, 1);
  EXPECT(nothing.ok());
  EXPECT(arena->carve(1, 1).status().code() == Code::kInternal);
}

TEST(carve_refuses_what_does_not_fit_and_stays_as_it_was) {
  Result<Arena> arena = Arena::create(8192);
  ASSERT(arena.ok());
  EXPECT_OK(arena->carve(100, 1).status());
  EXPECT(arena->carve(8192, 1).status().code() == Code::kInternal);
  EXPECT(arena->carve(kMax, 1).status().code() == Code::kInternal);
  EXPECT(arena->carve(kMax - 50, 1).status().code() == Code::kInternal);
  EXPECT(arena->carve(1, 2u << 20).status().code() == Code::kInternal);  // behind the end
  EXPECT(arena->carve(1, 0).status().code() == Code::kInternal);
  EXPECT(arena->carve(1, 48).status().code() == Code::kInternal);
  EXPECT(arena->carve(1, 4u << 20).status().code() == Code::kInternal);
  EXPECT_EQ(arena->carved_bytes(), 100u);
}

TEST(memory_that_nobody_has_is_a_typed_error) {
  for (const uint64_t bytes : {kMax, kMax - (2u << 20), kMax / 2, uint64_t{1} << 47}) {
    const Result<Arena> arena = Arena::create(bytes);
    EXPECT(arena.status().code() == Code::kInsufficientMemory);
    EXPECT(arena.status().message().find(std::to_string(bytes)) != std::string::npos);
  }
}

TEST(touch_reaches_every_page_and_can_be_cancelled) {
  Result<Arena> arena = Arena::create(40u << 20);
  ASSERT(arena.ok());
  std::atomic<bool> cancelled{true};
  EXPECT(arena->touch(cancelled).code() == Code::kCancelled);
  cancelled.store(false);
  EXPECT_OK(arena->touch(cancelled));
  // The kernel says which pages are there; huge ones where it has them.
  Result<std::span<std::byte>> all = arena->carve(arena->size_bytes(), 1);
  ASSERT(all.ok());
#if defined(__linux__)
  std::vector<unsigned char> present(all->size() / 4096);
  ASSERT(::mincore(all->data(), all->size(), present.data()) == 0);
  size_t absent = 0;
  for (const unsigned char page : present) absent += (page & 1) == 0;
  EXPECT_EQ(absent, 0u);
  EXPECT(arena->huge_page_bytes() <= 40u << 20);
  if (arena->huge_page_bytes() == 0) skip("the system gave no transparent huge pages");
  else EXPECT_EQ(arena->huge_page_bytes() % kHugePageBytes, 0u);
#endif
}

#if defined(__linux__)
// A budget promises what is resident; a huge page at the end would be resident as a whole.
TEST(an_arena_ends_where_its_size_does) {
  for (const uint64_t bytes : {uint64_t{4096}, kHugePageBytes - 4096, 4 * kHugePageBytes + 4096}) {
    Result<Arena> arena = Arena::create(bytes);
    ASSERT(arena.ok());
    std::byte* const begin = arena->carve(bytes, 1).value().data();
    unsigned char present = 0;
    EXPECT_EQ(::mincore(begin + bytes - 4096, 4096, &present), 0);
    EXPECT(::mincore(begin + bytes, 4096, &present) != 0 && errno == ENOMEM);
  }
}
#endif

TEST(a_moved_arena_owns_what_the_first_one_had) {
  Result<Arena> made = Arena::create(8192);
  ASSERT(made.ok());
  Arena first = std::move(made).value();
  EXPECT_OK(first.carve(4096, 4096).status());
  Arena second = std::move(first);
  EXPECT_EQ(second.carved_bytes(), 4096u);
  Result<std::span<std::byte>> piece = second.carve(4096, 4096);
  ASSERT(piece.ok());
  (*piece)[4095] = std::byte{1};
  Result<Arena> other = Arena::create(4096);
  ASSERT(other.ok());
  second = std::move(other).value();
  EXPECT_EQ(second.size_bytes(), 4096u);
}

#if defined(__linux__)
// Whether a child of this process finds the word at this place.
bool child_finds(const std::byte* place, uint64_t word) {
  int ends[2];
  if (::pipe(ends) != 0) return true;
  const pid_t child = ::fork();
  if (child == 0) {
    // write() looks at the memory without dying of it. A sanitizer may have put something else of its own there.
    uint64_t found = 0;
    const bool mapped = ::write(ends[1], place, sizeof(word)) == sizeof(word) &&
                        ::read(ends[0], &found, sizeof(found)) == sizeof(found);
    ::_exit(mapped && found == word ? 1 : 0);
  }
  int status = -1;
  const bool ended = ::waitpid(child, &status, 0) == child;
  ::close(ends[0]);
  ::close(ends[1]);
  return !ended || status != 0;
}

// A child of the host would copy the arena page by page, or pin it while the kernel writes into it.
TEST(children_do_not_get_the_arena) {
  const uint64_t word = 0x68797075'72610001;
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT(page != MAP_FAILED);
  std::memcpy(page, &word, sizeof(word));
  const bool kept = ::madvise(page, 4096, MADV_DONTFORK) == 0 &&
                    !child_finds(static_cast<const std::byte*>(page), word);
  ::munmap(page, 4096);
  if (!kept) return skip("the system takes MADV_DONTFORK and does nothing, as qemu's user emulation does");

  Result<Arena> arena = Arena::create(4096);
  ASSERT(arena.ok());
  Result<std::span<std::byte>> piece = arena->carve(4096, 1);
  ASSERT(piece.ok());
  std::memcpy(piece->data(), &word, sizeof(word));
  EXPECT(!child_finds(piece->data(), word));
}
#endif

}  // namespace
}  // namespace hypura::nvme_io
