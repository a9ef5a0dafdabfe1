// The Load message: everything TypeScript knows of a model, as plain bytes, checked against the real files here.
//
// The second fence (the first is ts/gguf): sizes with overflow checks, every extent inside fstat's size, rows x row bytes
// == extent length, type known, ids in range, tensors present for every role the spec needs. Nothing native parses GGUF.
// Format: docs/formats/load.md. All records are little-endian, naturally aligned, copied out before use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/model/model_spec.h"
#include "native/scheduler/block_cache.h"
#include "native/scheduler/block_table.h"

namespace hypura::nvme_io {
struct FileIdentity;
}

namespace hypura::runtime {

inline constexpr uint32_t kLoadMagic = 0x444c5948;  // "HYLD"
inline constexpr uint32_t kLoadFormat = 1;
// Raised with every change of a record that crosses the border; ts/native/layout.gen.ts carries the same number.
inline constexpr uint32_t kAbiVersion = 5;

struct LoadFile {
  uint64_t size_bytes;
  int64_t mtime_ns;
  uint64_t inode;
  uint64_t device;
  uint32_t path_offset;  // into the strings section, UTF-8, not terminated
  uint32_t path_bytes;
  uint32_t drive;        // index into the drives: copies on one drive share its queue
  uint32_t verified;     // 1: known to hold the bytes of the first copy's file, which is so itself; 0: compare them
};
static_assert(sizeof(LoadFile) == 48);

struct LoadDrive {
  double bytes_per_second;  // measured; 0: not known. Where copies are compared, the new measure is taken instead
};
static_assert(sizeof(LoadDrive) == 8);

// Where weights lie. Crosses the border as a number: append only.
enum class WeightPlacement : uint32_t {
  kCache = 0,   // pinned, streamed, pooled: scheduler/block_cache.h
  kMapped = 1,  // the files are mapped, and the kernel decides what is in memory: the baseline
  kCopied = 2,  // the files are read into memory as they are, and no cache is made: the yardstick of what the cache costs
};

// The itemised budget: region sizes that the planner summed. Their sum, each rounded up to 4096, must not exceed
// budget_bytes. kMapped and kCopied have no regions for weights but, when copied, pinned_bytes: the files' sizes, each rounded
// up to 4096.
struct LoadBudget {
  uint64_t budget_bytes;
  uint64_t trunk_bytes;
  uint64_t pinned_bytes;
  uint64_t ring_bytes;
  uint64_t pool_slot_bytes;
  uint64_t row_slot_bytes;
  uint64_t kv_bytes;       // n_sequences x pages of n_ctx x bytes of a page (model/kv_cache.h)
  uint64_t scratch_bytes;  // model/scratch.h
  uint32_t pool_slots;
  uint32_t row_slots;
  uint32_t pin_count;
  uint32_t n_ctx;  // positions per sequence, a multiple of kPositionsPerPage
  uint32_t n_sequences;
  uint32_t batch_positions;  // 1 .. kBatchPositionsMax: positions of one prefill sweep
  uint32_t logits_rows;      // >= 1: rows of logits that one sweep may report at once
  WeightPlacement placement;
  kernels::KvType k_type;  // how the KV cache stores keys, and values: of all sequences
  kernels::KvType v_type;
};
static_assert(sizeof(LoadBudget) == 104);

struct LoadHeader {
  uint32_t magic;
  uint32_t format;
  uint32_t abi_version;
  uint32_t n_files;  // of one copy
  uint32_t n_models;  // 1
  uint32_t n_tensors;
  uint32_t n_blocks;
  uint32_t n_extents;
  uint32_t n_pin_order;  // number of kBand blocks
  uint32_t first_head_band;
  uint32_t n_inv_freq;        // spec.n_rot / 2
  uint32_t n_copies;          // of the model, the first included
  uint32_t n_drives;
  uint32_t reserved;          // 0
  uint64_t files_offset;      // LoadFile[n_copies x n_files]: those of the first copy, then of the second, …
  uint64_t drives_offset;     // LoadDrive[n_drives]
  uint64_t specs_offset;      // ModelSpec[n_models]
  uint64_t tensors_offset;    // TensorEntry[n_tensors]
  uint64_t blocks_offset;     // Block[n_blocks]
  uint64_t extents_offset;    // Extent[n_extents]
  uint64_t pin_order_offset;  // u32[n_pin_order]
  uint64_t inv_freq_offset;   // f64[n_inv_freq]: radians per position of each rotated pair
  uint64_t budget_offset;     // LoadBudget
  uint64_t strings_offset;
  uint64_t strings_bytes;
};
static_assert(sizeof(LoadHeader) == 144);

struct LoadMessage {
  struct File {
    std::string path;
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint64_t inode;
    uint64_t device;
    bool verified;
  };
  std::vector<File> files;  // of all copies
  scheduler::CopyLayout copies;
  model::ModelSpec spec;
  std::vector<model::TensorEntry> tensors;
  scheduler::BlockTable table;
  std::vector<double> inv_freq;
  LoadBudget budget;

  uint32_t n_files() const { return static_cast<uint32_t>(files.size()) / copies.copies; }
};

// Errors: kBadLoad with the offset of the record that is wrong; kUnsupported for a tensor type without kernels.
Result<LoadMessage> decode_load(std::span<const std::byte> message);

}  // namespace hypura::runtime
