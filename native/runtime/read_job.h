// Whole blocks read into ordinary memory, for executors outside the core: NativeEngine.readBlocks().
//
// Runs on the token loop's thread between sweeps, past the cache: an engine that serves another executor runs no sweeps of
// its own. Created by a host thread, filled by the loop, read by the host after `done`.
#pragma once

#include <atomic>
#include <cstddef>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/status.h"

namespace hypura::nvme_io {
class ModelFile;
}
namespace hypura::scheduler {
class BlockTable;
struct CopyCounters;
}

namespace hypura::runtime {

struct ReadJob {
  std::vector<BlockId> blocks;   // ids were checked
  std::vector<std::byte> bytes;  // the extents of the blocks, one after the other
  Status status;
  std::atomic<bool> done{false};  // release after the fields above; acquire before reading them
};

// Bytes of the blocks' extents together.
uint64_t job_bytes(const scheduler::BlockTable& table, std::span<const BlockId> blocks);

// Fills job.bytes (already sized). files: n_files of each copy; what one copy does not give is asked of the next that was
// not dropped. Errors, the first copy's: kIo, kModelChanged when a file ended early, kCancelled, kInsufficientMemory.
Status run_read_job(ReadJob& job, const scheduler::BlockTable& table,
                    std::span<const nvme_io::ModelFile> files, uint32_t n_files,
                    std::span<const scheduler::CopyCounters> copies,
                    const std::atomic<bool>& cancelled);

}  // namespace hypura::runtime
