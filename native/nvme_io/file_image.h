// A whole model file at one address: mapped, or copied.
//
// Mapped is the baseline that other programs use: pages come when they are touched and go as the kernel likes. A file that is
// cut while it is mapped ends the process with SIGBUS, and so does a drive that fails; no other way of reading does that.
// Thread: made and destroyed by one thread; immutable between.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/status.h"
#include "native/nvme_io/model_file.h"

namespace hypura::nvme_io {

class MappedFile {
 public:
  // The descriptor may be closed afterwards. Error: kInsufficientMemory when there is no room for the addresses.
  static Result<MappedFile> map(const ModelFile& file);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::byte* data() const { return data_; }

 private:
  MappedFile() = default;
  std::byte* data_ = nullptr;
  uint64_t size_bytes_ = 0;
};

// Reads the whole file into `into` (its size, at least), one piece after the other.
// Errors: kIo, kModelChanged when the file ends early, kCancelled.
Status copy_file(const ModelFile& file, std::span<std::byte> into,
                 const std::atomic<bool>& cancelled);

}  // namespace hypura::nvme_io
