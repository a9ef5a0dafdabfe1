// Whether copies of a model hold the same bytes, found out by reading all of them once, past the page cache.
//
// All copies are read beside each other, so what each drive delivers meanwhile is what it will deliver in use: the measure
// that reads are shared out by. Chunks of the copies wait for each other in a short window, so the slowest drive sets the
// pace; time in which a drive had nothing to do is not counted against it.
// Thread: one, which may wait.   Allocates: its buffers, for the time of the call.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/limits.h"
#include "native/base/status.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/model_file.h"

namespace hypura::nvme_io {

struct CompareRequest {
  std::span<const ModelFile> files;   // n_files of the first copy, as many of the second, …
  uint32_t n_files = 0;
  std::span<const uint32_t> drives;   // by file, below kDrivesMax
  std::vector<bool> verified;         // by file: known to equal the first copy's, which is so itself
  uint64_t memory_bytes = 0;          // the most its buffers shall take; they take 256 KiB per copy at least
};

// Bytes of the model that are compared: each counts once, however many copies there are.
uint64_t bytes_to_compare(const CompareRequest& request);

// Reads every file that is not verified, and the first copy's beside it. compared_bytes counts up to bytes_to_compare().
// Returns the bytes per second of each drive, 0 where none was read.
// Errors name the index into `files` and the byte: kMirrorMismatch at the first difference; kIo after kReadRetriesMax
// retries; kModelChanged when a file ends early; kInsufficientMemory; kCancelled when `cancelled` became true.
Result<std::array<double, kDrivesMax>> compare_copies(const CompareRequest& request,
                                                      IoBackend& backend,
                                                      const std::atomic<bool>& cancelled,
                                                      std::atomic<uint64_t>& compared_bytes);

}  // namespace hypura::nvme_io
