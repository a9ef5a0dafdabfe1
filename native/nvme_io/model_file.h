// One open GGUF file (or one part of a split one), as a descriptor for direct reads and the facts direct I/O needs.
//
// Read-only, O_CLOEXEC, opened O_NONBLOCK and checked to be a regular file. Immutable after open.
#pragma once

#include <cstdint>
#include <string>

#include "native/base/status.h"

namespace hypura::nvme_io {

// What the parser saw. A file that differs from it is another model: kModelChanged.
struct FileIdentity {
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
};

// Of the file that stands there now, links followed. Error: kIo.
Result<FileIdentity> identity_of_file(const std::string& path);

class ModelFile {
 public:
  // direct: try O_DIRECT (statx tells the alignment, 4096 where it does not); falls back to a buffered descriptor where
  // the file system refuses, and says so in direct_reason().
  static Result<ModelFile> open(const std::string& path, const FileIdentity& expected, bool direct);
  ModelFile(ModelFile&& other) noexcept;
  ModelFile& operator=(ModelFile&& other) noexcept;
  ~ModelFile();

  int fd() const;
  bool direct() const;
  const std::string& direct_reason() const;  // "" when direct, else why not
  uint64_t size_bytes() const;
  // Offsets, lengths and memory of direct reads are multiples of this; a power of two, at most kDirectAlignmentBytes.
  uint32_t alignment_bytes() const;
  const std::string& path() const;
  // Compares size, mtime and inode with what open() saw. kModelChanged names what differs.
  Status check_unchanged() const;

 private:
  ModelFile() = default;
  int fd_ = -1;
  bool direct_ = false;
  uint32_t alignment_bytes_ = 4096;
  FileIdentity identity_;
  std::string path_;
  std::string direct_reason_;
};

}  // namespace hypura::nvme_io
