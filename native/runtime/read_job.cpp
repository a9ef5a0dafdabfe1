#include "native/runtime/read_job.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unistd.h>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/nvme_io/model_file.h"
#include "native/runtime/text.h"
#include "native/scheduler/block_table.h"
#include "native/scheduler/copies.h"

namespace hypura::runtime {
namespace {

using nvme_io::ModelFile;
using scheduler::Extent;

struct FreeDeleter {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeDeleter>;

Status failed(const Extent& extent, uint64_t offset, const ModelFile& file, int error) {
  return Status(Status::Detail{.code = error == 0 ? Code::kModelChanged : Code::kIo,
                               .message = error == 0
                                              ? text(file.path(), " ends at ", offset,
                                                     ": it became shorter while it was in use")
                                              : text("bytes at ", offset, " of ", file.path(),
                                                     " could not be read: ", std::strerror(error)),
                               .errno_value = error,
                               .file = extent.file,
                               .offset_bytes = offset});
}

// One extent through the aligned buffer, piece by piece: a direct descriptor takes aligned offsets, lengths and memory only.
Status read_extent(const Extent& extent, const ModelFile& file, std::byte* buffer,
                   std::byte* into) {
  uint64_t at = extent.offset_bytes;
  const uint64_t end = extent.offset_bytes + extent.size_bytes;
  while (at < end) {
    const uint64_t begin = align_down(at, kDirectAlignmentBytes);
    const uint64_t wanted =
        std::min<uint64_t>(align_up(end, kDirectAlignmentBytes) - begin, kReadBytesMax);
    const ssize_t got = ::pread(file.fd(), buffer, wanted, static_cast<off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(extent, begin, file, errno);
    const uint64_t filled = begin + static_cast<uint64_t>(got);
    if (filled <= at) return failed(extent, at, file, 0);
    const uint64_t bytes = std::min(filled, end) - at;
    std::memcpy(into, buffer + (at - begin), bytes);
    into += bytes;
    at += bytes;
  }
  return {};
}

Status read_from_any(const Extent& extent, std::span<const ModelFile> files, uint32_t n_files,
                     std::span<const scheduler::CopyCounters> copies, std::byte* buffer,
                     std::byte* into) {
  Status first;
  for (uint32_t copy = 0; copy * n_files < files.size(); ++copy) {
    if (copies[copy].state.load(std::memory_order_relaxed) == scheduler::CopyState::kDropped)
      continue;
    const ModelFile& file = files[copy * n_files + extent.file];
    Status status = read_extent(extent, file, buffer, into);
    if (status.ok() && copy > 0) status = file.check_unchanged();
    if (status.ok()) return status;
    if (first.ok()) first = status;
  }
  return first;
}

}  // namespace

uint64_t job_bytes(const scheduler::BlockTable& table, std::span<const BlockId> blocks) {
  uint64_t sum = 0;
  for (BlockId id : blocks)
    for (const Extent& extent : table.extents(id)) sum += extent.size_bytes;
  return sum;
}

Status run_read_job(ReadJob& job, const scheduler::BlockTable& table,
                    std::span<const ModelFile> files, uint32_t n_files,
                    std::span<const scheduler::CopyCounters> copies,
                    const std::atomic<bool>& cancelled) {
  const AlignedBuffer buffer(
      static_cast<std::byte*>(std::aligned_alloc(kDirectAlignmentBytes, kReadBytesMax)));
  if (buffer == nullptr)
    return Status::error(Code::kInsufficientMemory,
                         text("no memory for a read buffer of ", kReadBytesMax, " bytes"));
  std::byte* into = job.bytes.data();
  for (BlockId id : job.blocks) {
    for (const Extent& extent : table.extents(id)) {
      if (cancelled.load(std::memory_order_relaxed))
        return Status::error(Code::kCancelled, "the engine was closed");
      HYPURA_TRY(read_from_any(extent, files, n_files, copies, buffer.get(), into));
      into += extent.size_bytes;
    }
  }
  return {};
}

}  // namespace hypura::runtime
