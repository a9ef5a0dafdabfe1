#include "native/model/layers/projection.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <string>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"
#include "native/kernels/row_pieces.h"

namespace hypura::model {
namespace {

using kernels::ActivationForm;

}  // namespace

Status non_finite(uint16_t layer, const char* what) {
  const HotPathPause pause;
  const std::string where = layer == kNoLayer ? "" : "layer " + std::to_string(layer) + ": ";
  return Status::error(Code::kNonFinite,
                       where + what +
                           " holds NaN or infinity. The model file may be damaged: compare its "
                           "checksum with the publisher's.");
}

bool quantize_row(const Sweep& sweep, const float* row, uint32_t n_cols, FormSet forms,
                  const ActivationRows& into, uint32_t i) {
  bool finite = true;
  for (uint32_t f = 0; f < kernels::kActivationForms; ++f) {
    const auto form = static_cast<ActivationForm>(f);
    if (forms & form_set(form))
      finite = sweep.kernels.quantize(form)(row, n_cols, into.row(form, i)) && finite;
  }
  return finite;
}

Status quantize_rows(const Sweep& sweep, const float* rows, uint32_t n_rows, uint32_t n_cols,
                     FormSet forms, const ActivationRows& into, uint16_t layer, const char* what) {
  std::atomic<bool> finite{true};
  sweep.pool.for_each(n_rows, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i)
      if (!quantize_row(sweep, rows + uint64_t{i} * n_cols, n_cols, forms, into, i))
        finite.store(false, std::memory_order_relaxed);  // read after for_each, which synchronises
  });
  return finite.load(std::memory_order_relaxed) ? Status() : non_finite(layer, what);
}

Status quantize_normed(const Sweep& sweep, const uint32_t* of_entries, uint32_t n,
                       const float* weight, FormSet forms, uint16_t layer, const char* what) {
  const uint32_t n_embd = sweep.spec.n_embd;
  std::atomic<bool> finite{true};
  sweep.pool.for_each(n, 1, [&](uint32_t begin, uint32_t end, uint32_t worker) {
    float* normed = sweep.scratch.thread_row + worker * sweep.scratch.thread_row_floats;
    for (uint32_t i = begin; i < end; ++i) {
      const uint32_t entry = of_entries == nullptr ? i : of_entries[i];
      const float* x = sweep.scratch.x + uint64_t{entry} * n_embd;
      sweep.kernels.rms_norm(x, weight, n_embd, sweep.spec.norm_epsilon, normed);
      if (!quantize_row(sweep, normed, n_embd, forms, sweep.scratch.input, i))
        finite.store(false, std::memory_order_relaxed);  // read after for_each, which synchronises
    }
  });
  return finite.load(std::memory_order_relaxed) ? Status() : non_finite(layer, what);
}

void multiply(const Sweep& sweep, std::span<const Segment> segments, uint32_t n_cols) {
  uint32_t n_rows = 0;
  uint64_t n_outputs = 0;
  for (const Segment& segment : segments) {
    n_rows += segment.n_rows;
    n_outputs += uint64_t{segment.n_rows} * segment.n_positions;
  }
  if (n_rows == 0) return;
  const uint32_t grain = kernels::rows_per_piece(n_rows, n_cols, n_outputs / n_rows, sweep.pool.n_threads());
  sweep.pool.for_each(n_rows, grain, [&](uint32_t begin, uint32_t end, uint32_t) {
    uint32_t first = 0;  // row of the job at which the segment begins
    for (const Segment& segment : segments) {
      const uint32_t from = std::max(begin, first);
      const uint32_t to = std::min(end, first + segment.n_rows);
      if (from < to)
        segment.matmul(segment.weights, n_cols, {from - first, to - first}, segment.activations,
                       segment.activation_stride, segment.n_positions, segment.out, segment.out_stride);
      first += segment.n_rows;
    }
  });
}

Status project(const Sweep& sweep, std::span<const Projection> group, const ActivationRows& input,
               uint32_t n_positions) {
  const BandMatrix& last = *group.back().matrix;
  const uint32_t end_block = last.first_block + last.n_blocks;
  uint32_t block = group.front().matrix->first_block;
  const Projection* at = group.data();
  while (block < end_block) {
    HYPURA_TRY_ASSIGN(const scheduler::BandRun run,
                      sweep.cache.acquire_run(BlockId{block}, end_block - block));
    std::array<Segment, scheduler::BandRun::kBandsMax> segments;
    uint32_t n_segments = 0;
    for (const scheduler::BandView& band : run.bands()) {
      while (block >= at->matrix->first_block + at->matrix->n_blocks) ++at;
      const BandMatrix& matrix = *at->matrix;
      CHECK(index_of(band.block) == block && band.row_begin + band.row_count <= matrix.n_rows);
      segments[n_segments++] = {.matmul = matrix.matmul,
                                .weights = band.data,
                                .n_rows = band.row_count,
                                .activations = input.row(matrix.form, 0),
                                .activation_stride = input.stride(matrix.form),
                                .n_positions = n_positions,
                                .out = at->out + band.row_begin,
                                .out_stride = matrix.n_rows};
      ++block;
    }
    multiply(sweep, {segments.data(), n_segments}, last.n_cols);
  }
  return {};
}

void add_block(const Sweep& sweep, const float* bias, const float* post_norm) {
  const uint32_t n_embd = sweep.spec.n_embd;
  sweep.pool.for_each(sweep.n_entries(), 1, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i) {
      float* result = sweep.scratch.block_out + uint64_t{i} * n_embd;
      float* x = sweep.scratch.x + uint64_t{i} * n_embd;
      if (bias != nullptr) sweep.kernels.add(bias, n_embd, result);
      if (post_norm != nullptr)
        sweep.kernels.rms_norm(result, post_norm, n_embd, sweep.spec.norm_epsilon, result);
      if (sweep.spec.residual_scale == 1.0f)
        sweep.kernels.add(result, n_embd, x);
      else
        sweep.kernels.add_scaled(result, sweep.spec.residual_scale, n_embd, x);
    }
  });
}

}  // namespace hypura::model
