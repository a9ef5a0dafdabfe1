// POSIX. Backends "pread" and "buffered": four threads per drive that call pread(2), behind the same door as io_uring.
//
// A full fallback where io_uring is forbidden: reads of 1 to 4 MiB came at the same 4.1 GB/s for a few per cent more of a
// core, small ones (16 KiB) at half the speed. "buffered" is
// the same pool for descriptors that are not direct; it gives the pages back to the system after each read
// (POSIX_FADV_DONTNEED), so that the weights do not take the memory twice.
#pragma once

#include <cstdint>
#include <memory>

#include "native/nvme_io/io_backend.h"

namespace hypura::nvme_io {

inline constexpr uint32_t kPreadThreads = 4;  // per drive

enum class PageCache : uint8_t {
  kBypass,   // descriptors are direct: "pread"
  kDropped,  // descriptors are buffered: "buffered"
};

// depth: 1 .. kIoDepthMax; more reads than there are threads wait in a queue. drives: 1 .. kDrivesMax. Error: kUnsupported
// when the system gives no thread.
Result<std::unique_ptr<IoBackend>> open_pread_pool(uint32_t depth, PageCache page_cache,
                                                   uint32_t drives = 1);

}  // namespace hypura::nvme_io
