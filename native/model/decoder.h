// The one decoder: a sweep takes a batch of tokens through all layers. Model families differ by the flags of ModelSpec.
//
// Why a sweep over a batch: weights are streamed, so each block is asked for once and used for every position of the batch.
// Holds always: a position's logits have the same bits whatever the batch it came in, the number of threads, the order in
// which experts arrive and the size of any cache (rules E1-E11 in docs/adding/kernel.md).
// Thread: token loop only.   Allocates: in create(), never later (error paths excepted).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/thread_pool.h"
#include "native/model/kv_cache.h"
#include "native/model/model_spec.h"
#include "native/model/scratch.h"
#include "native/model/token_batch.h"
#include "native/scheduler/block_cache.h"

namespace hypura::model {

// What a decoder is made of. References and `scratch` must outlive the decoder; the rest is copied.
struct DecoderParts {
  const ModelSpec& spec;
  std::span<const TensorEntry> tensors;
  // spec.n_rot / 2: radians per position of each rotated pair; empty without rope.
  std::span<const double> inv_freq;
  // kernels::QuantType of extent `extent` of an expert block: gate, up, down, or fused gate and up, then down.
  std::function<uint32_t(BlockId block, uint32_t extent)> expert_type;
  scheduler::BlockCache& cache;
  const kernels::KernelSet& kernels;
  kernels::ThreadPool& pool;
  KvCache& kv;
  // scratch_bytes(spec, batch_positions, logits_rows, pool.n_threads()), 64-byte aligned.
  std::span<std::byte> scratch;
  uint32_t batch_positions = 1;  // most entries of one batch
  uint32_t logits_rows = 1;      // most rows handed to on_logits at once
};

class Decoder {
 public:
  // After cache.load(): vectors of the trunk that are not aligned F32 are copied here.
  // Errors: kBadLoad for a missing, doubled or misshapen tensor, or bands that are not in execution order; kUnsupported for a
  // type without a kernel or a rope angle beyond 2^20; kInsufficientMemory when `scratch` is too small.
  static Result<std::unique_ptr<Decoder>> create(const DecoderParts& parts);
  ~Decoder();

  // One pass over all layers. The caller has called cache.begin_sweep() with with_head set exactly when an entry wants
  // logits, and calls cache.end_sweep() afterwards, also after an error.
  // When more than logits_rows entries want logits, the head's bands are acquired once per group of logits_rows rows: what
  // is streamed of the head is read as many times, and read-ahead into the next sweep is dropped in between.
  // On success the sequences' lengths have grown; after an error they have not, and the same batch may be swept again.
  // Errors: kInvalidArgument and kContextOverflow for entries that do not fit, before anything is computed; kCancelled;
  // kNonFinite naming the layer; what the cache and on_logits return.
  Status sweep(const TokenBatch& batch);

 private:
  struct State;
  explicit Decoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hypura::model
