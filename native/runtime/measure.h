// What an engine allocates besides weights, as one layout: the planner's budget and the engine's pointers come from it.
//
// Pure but for the memory handed in; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/model/kv_cache.h"
#include "native/model/model_spec.h"
#include "native/runtime/carver.h"
#include "native/runtime/sampler.h"
#include "native/runtime/token_record.h"

namespace hypura::runtime {

struct MeasureOptions {
  uint32_t batch_positions = 1;
  uint32_t logits_rows = 1;
  uint32_t threads = 1;
  uint32_t n_ctx = 0;
  uint32_t n_sequences = 1;
  model::KvTypes kv_types{};
};

struct MemoryMeasure {
  uint64_t kv_bytes = 0;
  uint64_t scratch_bytes = 0;
};

// Error: kInvalidArgument for a spec or an option out of range, kUnsupported for a type of the KV cache that the heads do not
// fit, kInsufficientMemory when sizes pass 64 bits.
Result<MemoryMeasure> measure(const model::ModelSpec& spec, const MeasureOptions& options);

// Buffers of one sequence, for its whole life.
struct SequenceBuffers {
  uint32_t* history =
      nullptr;  // (n_ctx + 1): the token at each position, the last one sampled included
  TokenRecord* tokens = nullptr;  // ring of kPendingTokensMax records
  float* logits = nullptr;        // ring of logits_rows rows of n_vocab
};

// scratch_bytes of the measure, cut up: the decoder's activations, the sampler, and each sequence's buffers.
struct ScratchLayout {
  // spec and options were measured. kernels may be null when the carver only counts.
  ScratchLayout(const model::ModelSpec& spec, const MeasureOptions& options,
                const kernels::KernelSet* kernels, Carver& carver);

  std::span<std::byte> decoder;
  Sampler sampler;
  std::vector<SequenceBuffers> sequences;
};

}  // namespace hypura::runtime
