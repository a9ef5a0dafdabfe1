#include "native/nvme_io/arena_hole.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "native/base/bytes.h"

namespace hypura::nvme_io {
namespace {

constexpr uint64_t kSmallPageBytes = 4096;

std::byte* at(uint64_t address) { return reinterpret_cast<std::byte*>(address); }

void give_back(uint64_t begin, uint64_t end) {
#if defined(__linux__)
  if (begin < end) (void)::madvise(at(begin), end - begin, MADV_DONTNEED);
#endif
}

// Writes to each page. Past the address sanitizer: the bytes may be marked as free, which they stay.
#if defined(__GNUC__)
__attribute__((no_sanitize("address")))
#endif
void touch(uint64_t begin, uint64_t end) {
  for (uint64_t page = begin; page < end; page += kSmallPageBytes)
    *reinterpret_cast<volatile char*>(page) = 0;
}

// 0, or the errno of a system that has no memory. Asked for in one call where the kernel can (Linux 5.14), because writing
// has no way to say no.
int fetch(uint64_t begin, uint64_t end) {
  if (begin >= end) return 0;
#if defined(__linux__) && defined(MADV_POPULATE_WRITE)
  while (::madvise(at(begin), end - begin, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    if (errno == EINVAL) break;  // an older kernel
    return errno;
  }
#endif
  touch(begin, end);
  return 0;
}

}  // namespace

Status ArenaHole::move(std::span<std::byte> bytes) {
  const auto first = reinterpret_cast<uint64_t>(bytes.data());
  uint64_t begin = align_up(first, page_bytes_);
  uint64_t end = align_down(first + bytes.size(), page_bytes_);
  if (bytes.empty() || begin >= end) begin = end = 0;

  // The old hole without the new one: before it and behind it; the other way round likewise.
  const uint64_t before = begin == end ? end_ : std::clamp(begin, begin_, end_);
  const uint64_t behind = begin == end ? end_ : std::clamp(end, begin_, end_);
  int error = fetch(begin_, before);
  if (error == 0) error = fetch(behind, end_);
  if (error != 0) {
    give_back(begin_, before);
    give_back(behind, end_);
    return Status(Status::Detail{
        .code = Code::kInsufficientMemory,
        .message = "The system gives " + std::to_string(before - begin_ + end_ - behind) +
                   " bytes not back that were returned to it: " + std::strerror(error) + ".",
        .errno_value = error,
        .file = {},
        .offset_bytes = {}});
  }
  if (begin_ == end_) {
    give_back(begin, end);
  } else {
    give_back(begin, std::clamp(begin_, begin, end));
    give_back(std::clamp(end_, begin, end), end);
  }
  begin_ = begin;
  end_ = end;
  return {};
}

}  // namespace hypura::nvme_io
