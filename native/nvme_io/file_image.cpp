#include "native/nvme_io/file_image.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/limits.h"

namespace hypura::nvme_io {

Result<MappedFile> MappedFile::map(const ModelFile& file) {
  void* const memory = ::mmap(nullptr, file.size_bytes(), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (memory == MAP_FAILED) {
    return Status(Status::Detail{
        .code = Code::kInsufficientMemory,
        .message = file.path() + " could not be mapped: " + std::strerror(errno) + ".",
        .errno_value = errno,
        .file = {},
        .offset_bytes = {}});
  }
  MappedFile mapped;
  mapped.data_ = static_cast<std::byte*>(memory);
  mapped.size_bytes_ = file.size_bytes();
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) (void)::munmap(data_, size_bytes_);
}

// A read asks for whole pages, as a direct descriptor wants it, and may end with the file.
Status copy_file(const ModelFile& file, std::span<std::byte> into,
                 const std::atomic<bool>& cancelled) {
  for (uint64_t at = 0; at < file.size_bytes();) {
    // Pairs with the store of whoever cancels; nothing else is handed over by it.
    if (cancelled.load(std::memory_order_relaxed))
      return Status::error(Code::kCancelled, "cancelled while " + file.path() + " was read");
    const uint64_t begin = align_down(at, kDirectAlignmentBytes);
    const uint64_t wanted = std::min<uint64_t>(into.size() - begin, kReadBytesMax);
    const ssize_t got = ::pread(file.fd(), into.data() + begin, wanted, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    const uint64_t end = got < 0 ? 0 : std::min(begin + static_cast<uint64_t>(got), file.size_bytes());
    if (end <= at) {
      const int error = got < 0 ? errno : 0;
      return Status(Status::Detail{
          .code = error == 0 ? Code::kModelChanged : Code::kIo,
          .message = file.path() + (error == 0 ? " ends at " + std::to_string(at) +
                                                     ": it became shorter while it was read."
                                               : " could not be read: " +
                                                     std::string(std::strerror(error)) + "."),
          .errno_value = error,
          .file = {},
          .offset_bytes = at});
    }
    at = end;
  }
  return {};
}

}  // namespace hypura::nvme_io
