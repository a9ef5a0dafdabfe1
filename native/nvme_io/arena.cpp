#include "native/nvme_io/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/limits.h"

namespace hypura::nvme_io {
namespace {

// The unit that is written to, where the system gave no huge pages. Writing more often than pages are large is cheap:
// the price is the page fault.
constexpr uint64_t kSmallPageBytes = 4096;
// Between two looks at `cancelled`: 16 MiB of pages that the host must hand out first took 40 ms.
constexpr uint64_t kTouchStepBytes = 16u << 20;
// A hole loses up to a page at each end: with two holes 8 MiB of huge pages, at most a sixteenth of such an arena.
constexpr uint64_t kHugeHolesArenaBytes = 128u << 20;

// The mapping itself: an empty one does not exist.
uint64_t mapped_bytes(uint64_t size_bytes) { return std::max(size_bytes, kSmallPageBytes); }

Status no_memory(uint64_t bytes, int errno_value) {
  return Status(Status::Detail{
      .code = Code::kInsufficientMemory,
      .message = "The system gives no " + std::to_string(bytes) + " bytes (" +
                 std::to_string(bytes >> 20) + " MiB) of memory: " + std::strerror(errno_value) +
                 ". Give a smaller --memory.",
      .errno_value = errno_value,
      .file = {},
      .offset_bytes = {}});
}

}  // namespace

Result<Arena> Arena::create(uint64_t bytes) {
  // Room for rounding up and for the slack below, without wrapping.
  if (!checked_add(bytes, 2 * kHugePageBytes)) return no_memory(bytes, ENOMEM);
  const uint64_t size_bytes = align_up(bytes, kSmallPageBytes);
  const uint64_t wanted = mapped_bytes(size_bytes);
  // mmap aligns to small pages: map one huge page more and give the ends back. A huge page never reaches past a mapping.
  void* memory = ::mmap(nullptr, wanted + kHugePageBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return no_memory(bytes, errno);
  std::byte* const begin = static_cast<std::byte*>(memory);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  const uint64_t lead = align_up(address, kHugePageBytes) - address;
  if (lead > 0) (void)::munmap(begin, lead);
  (void)::munmap(begin + lead + wanted, kHugePageBytes - lead);

#if defined(__linux__)
  // Advice: a kernel without transparent huge pages refuses the first, and is only slower for it.
  (void)::madvise(begin + lead, wanted, MADV_HUGEPAGE);
  (void)::madvise(begin + lead, wanted, MADV_DONTFORK);
#endif

  Arena arena;
  arena.base_ = begin + lead;
  arena.size_bytes_ = size_bytes;
  return arena;
}

Arena::Arena(Arena&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      carved_bytes_(std::exchange(other.carved_bytes_, 0)),
      page_bytes_(other.page_bytes_) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(size_bytes_, other.size_bytes_);
  std::swap(carved_bytes_, other.carved_bytes_);
  std::swap(page_bytes_, other.page_bytes_);
  return *this;
}

Arena::~Arena() {
  if (base_ != nullptr) (void)::munmap(base_, mapped_bytes(size_bytes_));
}

Result<std::span<std::byte>> Arena::carve(uint64_t bytes, uint64_t alignment_bytes) {
  if (!std::has_single_bit(alignment_bytes) || alignment_bytes > kHugePageBytes) {
    return Status::error(Code::kInternal, "arena: an alignment of " +
                                              std::to_string(alignment_bytes) +
                                              " bytes is no power of two up to 2 MiB");
  }
  const uint64_t begin = align_up(carved_bytes_, alignment_bytes);
  if (begin > size_bytes_ || bytes > size_bytes_ - begin) {
    return Status::error(Code::kInternal,
                         "arena: " + std::to_string(bytes) + " bytes do not fit at " +
                             std::to_string(begin) + " of " + std::to_string(size_bytes_));
  }
  carved_bytes_ = begin + bytes;
  return std::span<std::byte>(base_ + begin, bytes);
}

Status Arena::touch(const std::atomic<bool>& cancelled) {
  for (uint64_t step = 0; step < size_bytes_; step += kTouchStepBytes) {
    // Pairs with the store of whoever cancels; nothing else is handed over by it.
    if (cancelled.load(std::memory_order_relaxed))
      return Status::error(Code::kCancelled, "cancelled while memory was prepared");
    const uint64_t end = std::min(step + kTouchStepBytes, size_bytes_);
    for (uint64_t at = step; at < end; at += kSmallPageBytes)
      *static_cast<volatile std::byte*>(base_ + at) = std::byte{0};
  }
  if (size_bytes_ >= kHugeHolesArenaBytes && huge_page_bytes() > 0) page_bytes_ = kHugePageBytes;
  return Status();
}

uint64_t Arena::size_bytes() const { return size_bytes_; }
uint64_t Arena::carved_bytes() const { return carved_bytes_; }

// A mapping's paragraph begins with "7f12a0000000-7f12c0000000 rw-p ..." and has a line "AnonHugePages:   2048 kB". The
// kernel joins neighbours of equal flags into one paragraph, so another arena's pages may be counted: hence the cap.
uint64_t Arena::huge_page_bytes() const {
  std::FILE* const smaps = std::fopen("/proc/self/smaps", "re");
  if (smaps == nullptr || base_ == nullptr) {
    if (smaps != nullptr) std::fclose(smaps);
    return 0;
  }
  const uint64_t arena_begin = reinterpret_cast<uintptr_t>(base_);
  const uint64_t arena_end = arena_begin + mapped_bytes(size_bytes_);
  uint64_t huge_bytes = 0;
  bool inside = false;
  char line[512];
  while (std::fgets(line, sizeof(line), smaps) != nullptr) {
    uint64_t begin = 0, end = 0, kib = 0;
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
      inside = begin < arena_end && end > arena_begin;
    } else if (inside && std::sscanf(line, "AnonHugePages: %" SCNu64 " kB", &kib) == 1) {
      huge_bytes += kib << 10;
    }
  }
  std::fclose(smaps);
  return std::min(huge_bytes, mapped_bytes(size_bytes_));
}

}  // namespace hypura::nvme_io
