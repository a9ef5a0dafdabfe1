// Every limit of the native side, with its unit and its reason. The TypeScript parser has its own table.
#pragma once

#include <cstdint>

namespace hypura {

// One read is at most this long: at 4 MiB a single request in flight already reaches the drive's bandwidth, and a
// cancelled request is over soon.
inline constexpr uint32_t kReadBytesMax = 4u << 20;
// Slots and buffers handed to direct I/O begin and end on multiples of this; every file system seen asks for less.
inline constexpr uint32_t kDirectAlignmentBytes = 4096;
// Arena base and size: one transparent huge page.
inline constexpr uint64_t kHugePageBytes = 2u << 20;
// Reads in the kernel at once. 1 to 4 MiB at depth 4 to 8 saturates the drives measured.
inline constexpr uint32_t kIoDepthDefault = 8;
inline constexpr uint32_t kGuessesMax = 32;            // candidates for the experts of one layer
// A plan's table of which experts follow which: relations, followers of one expert in each, mixture layers that one may look back.
inline constexpr uint32_t kFollowRelationsMax = 8;
inline constexpr uint32_t kFollowersMax = 32;
inline constexpr uint32_t kFollowLayersMax = 4;
inline constexpr uint32_t kIoDepthMax = 64;
// Copies of one model, the first included, and drives they may lie on: sets of them are bits of one byte.
inline constexpr uint32_t kCopiesMax = 8;
inline constexpr uint32_t kDrivesMax = 8;
// Where copies lie on several drives, a read is at most this long, so that one band is read by all of them; at the
// default depth no drive measured was slower than with the longest reads (docs/decisions/0010-reads-over-several-drives.md).
inline constexpr uint32_t kStripeBytesMax = 1u << 20;
// Failed reads after which a copy is asked only when no other one is left.
inline constexpr uint32_t kCopyFailuresMax = 4;
// Retries of a failed read, after 1, 10 and 100 ms.
inline constexpr uint32_t kReadRetriesMax = 3;
// Extents of one block: gate, up and down of an expert, with one to spare.
inline constexpr uint32_t kExtentsPerBlockMax = 4;
// Rows of the token embedding that are read together; 32 rows of any GGUF type are a multiple of 32 bytes.
inline constexpr uint32_t kRowsPerRowBand = 32;
// Positions of one KV page, and of one attention chunk (merge order is part of the recipe).
inline constexpr uint32_t kPositionsPerPage = 256;
// Positions of one prefill sweep.
inline constexpr uint32_t kBatchPositionsMax = 512;
inline constexpr uint32_t kLayersMax = 4096;
inline constexpr uint32_t kExpertsMax = 65535;
inline constexpr uint32_t kThreadsMax = 256;
inline constexpr uint32_t kFilesMax = 1024;
inline constexpr uint32_t kBlocksMax = 1u << 24;
// One block of a read measurement; several reads where it is longer than one.
inline constexpr uint32_t kMeasureBlockBytesMax = 16u << 20;
// Blocks of one read measurement: 4 KiB each are 4 GiB. Their latencies are kept, 8 bytes each.
inline constexpr uint32_t kMeasureOffsetsMax = 1u << 20;
// Undelivered event records; the newest are dropped and counted beyond it.
inline constexpr uint32_t kEventRingRecords = 65536;
// Tokens a sequence may be ahead of its reader before it pauses.
inline constexpr uint32_t kPendingTokensMax = 4096;

}  // namespace hypura
