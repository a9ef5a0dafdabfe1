// What all layers are built of: norm, quantise, multiply, add; over all positions of a sweep.
//
// Each input vector is quantised once per use group and only in the forms the group's weights ask for. Products are split by
// output rows, everything else by positions: never along a dot product, so threads cannot change a bit (E5).
// Thread: token loop, which lends work to the pool.   Allocates: never (error paths excepted).
#pragma once

#include <cstdint>
#include <span>

#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/kernels/thread_pool.h"
#include "native/model/kv_cache.h"
#include "native/model/model_spec.h"
#include "native/model/scratch.h"
#include "native/model/token_batch.h"
#include "native/model/weights.h"
#include "native/scheduler/block_cache.h"

namespace hypura::model {

// What every step of one sweep works with.
struct Sweep {
  const ModelSpec& spec;
  const kernels::KernelSet& kernels;
  kernels::ThreadPool& pool;
  scheduler::BlockCache& cache;
  KvCache& kv;
  const Scratch& scratch;
  const TokenBatch& batch;

  std::span<const TokenEntry> entries() const { return batch.entries; }
  uint32_t n_entries() const { return static_cast<uint32_t>(batch.entries.size()); }
};

// kNonFinite: `what` (e.g. "the input of attention") of a layer, or of the model for kNoLayer, holds NaN or infinity.
Status non_finite(uint16_t layer, const char* what);

// into.row(form, i) = row, (n_cols) floats, for each form of the set. False when an element is NaN or infinite.
bool quantize_row(const Sweep& sweep, const float* row, uint32_t n_cols, FormSet forms,
                  const ActivationRows& into, uint32_t i);

// into.row(form, i) = rows[i] for each form of the set.
//   rows (n_rows, n_cols), n_cols apart
Status quantize_rows(const Sweep& sweep, const float* rows, uint32_t n_rows, uint32_t n_cols,
                     FormSet forms, const ActivationRows& into, uint16_t layer, const char* what);

// scratch.input.row(form, i) = rms_norm(x of entry i) * weight, for each form of the set.
//   of_entries: which entries, n of them; null means the first n
Status quantize_normed(const Sweep& sweep, const uint32_t* of_entries, uint32_t n,
                       const float* weight, FormSet forms, uint16_t layer, const char* what);

// Some rows of a weight in memory, and where their products go: out[p * out_stride + r] for r in 0 .. n_rows - 1.
struct Segment {
  kernels::MatmulFunction matmul = nullptr;
  const std::byte* weights = nullptr;
  uint32_t n_rows = 0;
  const std::byte* activations = nullptr;  // position 0
  uint64_t activation_stride = 0;
  uint32_t n_positions = 0;
  float* out = nullptr;
  uint64_t out_stride = 0;
};

// All segments in one job: (n_rows, n_cols) times n_positions vectors each.
void multiply(const Sweep& sweep, std::span<const Segment> segments, uint32_t n_cols);

// One product of a use group, out (n_positions, matrix.n_rows), rows n_rows apart.
struct Projection {
  const BandMatrix* matrix = nullptr;
  float* out = nullptr;
};

// Products of one use group, whose bands are consecutive, with the same input; each band is acquired once and run by run,
// as the cache has them ready. Errors: what the cache returns.
Status project(const Sweep& sweep, std::span<const Projection> group, const ActivationRows& input,
               uint32_t n_positions);

// Row i of x, for all entries: x += residual_scale * norm(block_out + bias); bias and post_norm may be null.
void add_block(const Sweep& sweep, const float* bias, const float* post_norm);

}  // namespace hypura::model
