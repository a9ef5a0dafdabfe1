// How fast a file can be read in one way: keeps a number of blocks on their way for a while, and says what came back.
//
// Why a part of its own: the figure is worth something only if the queue is full from the first read to the last, no place is
// read twice, and memory is what the engine would read into (arena.h: without huge pages direct reads are three times
// slower). Offsets come from the caller, who knows what was read before; nothing is retried, because a drive that fails
// has no bandwidth.
// Thread: the caller's, which becomes the I/O thread of the backend.   Allocates: before the first read, never later.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/limits.h"
#include "native/base/status.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/model_file.h"

namespace hypura::nvme_io {

struct ReadBenchOptions {
  // Multiple of kDirectAlignmentBytes, at most kMeasureBlockBytesMax. A block longer than kReadBytesMax is several reads.
  uint32_t block_bytes = kReadBytesMax;
  // Blocks on their way at once; all their reads together are at most kIoDepthMax.
  uint32_t depth = kIoDepthDefault;
  // Where blocks begin, in the order of reading: multiples of kDirectAlignmentBytes inside the file. The last block of a
  // file may be shorter. At most kMeasureOffsetsMax.
  std::span<const uint64_t> offsets;
  // No block begins later than this, or when so many bytes were asked for.
  std::chrono::nanoseconds time_max = std::chrono::seconds(1);
  uint64_t bytes_max = UINT64_MAX;
};

struct ReadBench {
  uint64_t blocks = 0;       // the first so many of the offsets
  uint64_t bytes = 0;
  uint64_t duration_ns = 0;  // from the first submission to the last completion
  uint64_t cpu_ns = 0;       // of the whole process meanwhile, in user and kernel
  // Of one block, from before it was submitted until its last read was reaped. 0 when nothing was read.
  uint64_t latency_p50_ns = 0;
  uint64_t latency_p99_ns = 0;
  uint64_t latency_max_ns = 0;
};

// Reads in the kernel at once for these options, which the backend must have been opened for.
uint32_t reads_at_once(uint32_t block_bytes, uint32_t depth);
// Bytes of memory that bench_reads() reads into: depth blocks.
uint64_t bench_memory_bytes(uint32_t block_bytes, uint32_t depth);
// Error: kInvalidArgument with the number and what is allowed. Offsets are not looked at.
Status check_bench_shape(uint32_t block_bytes, uint32_t depth);

// memory: at least bench_memory_bytes(), aligned to kDirectAlignmentBytes, touched. A buffered file's pages are given back to
// the system first. Returns when no read is on its way any more, also after an error: as late as the drive.
// Errors: kInvalidArgument; kIo with errno and offset at the first read that fails; kModelChanged when the file
// ends before an offset or became shorter; kCancelled, seen every 50 ms.
Result<ReadBench> bench_reads(IoBackend& backend, const ModelFile& file,
                              std::span<std::byte> memory, const ReadBenchOptions& options,
                              const std::atomic<bool>& cancelled);

}  // namespace hypura::nvme_io
