// The checks behind decode_load(): each takes the decoded records and names the byte of the message that is wrong.
//
// Pure functions of the message; any thread. They allocate vectors bounded by the message's own size.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "native/base/status.h"
#include "native/runtime/load_message.h"

namespace hypura::runtime {

// All records of a message, copied out, before anything about their content is known. Counts equal the header's.
struct LoadRecords {
  LoadHeader header;
  std::vector<LoadFile> files;  // of all copies
  std::vector<LoadDrive> drives;
  model::ModelSpec spec;
  std::vector<model::TensorEntry> tensors;
  std::vector<scheduler::Block> blocks;
  std::vector<scheduler::Extent> extents;
  std::vector<uint32_t> pin_order;
  std::vector<double> inv_freq;
  LoadBudget budget;
};

// Sequences of one engine: each has its own KV pages, so memory is the real bound; this one keeps sums in range.
inline constexpr uint32_t kSequencesMax = 1024;
// Positions of one sequence: far above any model, far below the 2^32 that positions are counted in.
inline constexpr uint32_t kContextMax = 1u << 30;
// Width of any vector, and rows of any matrix: products of two still fit easily in 64 bits.
inline constexpr uint32_t kWidthMax = 1u << 26;
// One extent with its hull: slots are addressed with 32 bits.
inline constexpr uint64_t kExtentBytesMax = 1ull << 31;

Status bad_load(uint64_t offset_bytes, std::string message);

// Numbers of the spec: ranges, divisibility, finite floats. spec_offset_bytes: where the record lies in its message.
Status check_spec(const model::ModelSpec& spec, uint64_t spec_offset_bytes);

// As many inverse frequencies as the spec rotates pairs, all usable. After check_spec().
Status check_inv_freq(const LoadRecords& records);

// Tensors, blocks and extents against the spec, the files and each other.
Status check_tensors(const LoadRecords& records);

// All regions together as they are placed: each begins on a page. Nothing when the sum does not fit in 64 bits.
std::optional<uint64_t> placed_bytes(const LoadBudget& budget);

// Region sizes hold what the tables say they must, and their sum fits the budget. After check_tensors().
Status check_budget(const LoadRecords& records);

}  // namespace hypura::runtime
