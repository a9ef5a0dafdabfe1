// Linux only. Backend "uring": reads through io_uring, one system call for a batch, one for a wait.
//
// First choice: a sleeping I/O thread that keeps 4 to 8 reads going costs 2-5 % of a core.
#pragma once

#include <cstdint>
#include <memory>

#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/uring_ring.h"

namespace hypura::nvme_io {

// Whether io_uring can be used by this process; kUnsupported with the likely cause when it cannot.
Status probe_uring();
// depth: 1 .. kIoDepthMax. Error: kUnsupported, kInsufficientMemory.
Result<std::unique_ptr<IoBackend>> open_uring(uint32_t depth, UringFeatures features = {});

}  // namespace hypura::nvme_io
