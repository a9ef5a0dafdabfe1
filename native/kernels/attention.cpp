// The order of attention over chunks. What a kernel computes of one chunk, and how two are merged, stands in
// scalar/attention.cpp. Here the rest of rule E6:
//   A position's first chunk, the one that holds the first key it sees, is taken as it is; each later one is merged.
//   A sink s comes after the last chunk, with M = max(m, s): l = fma(l, e^(m - M), e^(s - M)), o_d = o_d * e^(m - M).
//   The result is o_d * (1 / l).
// A window cuts keys, not chunk borders.
#include "native/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/kernels/scalar/exp.h"

namespace hypura::kernels {
namespace {

constexpr uint32_t kTileRows = 64;
constexpr uint32_t kLanes = 16;

// Positions begin .. end - 1 of a tile.
struct PositionRange {
  uint32_t begin;
  uint32_t end;
};

uint32_t first_key(const AttentionTile& tile, uint32_t position) {
  const uint32_t n_keys = tile.n_keys + position;
  return tile.window == 0 || n_keys <= tile.window ? 0 : n_keys - tile.window;
}

uint32_t first_chunk(const AttentionTile& tile, uint32_t position) {
  return first_key(tile, position) / kPositionsPerPage;
}

// Those that see a key of the chunk.
PositionRange positions_of(const AttentionTile& tile, uint32_t chunk) {
  const uint32_t first = chunk * kPositionsPerPage;
  PositionRange range{first < tile.n_keys ? 0 : first + 1 - tile.n_keys, tile.n_positions};
  while (range.end > range.begin && first_chunk(tile, range.end - 1) > chunk) --range.end;
  return range;
}

AttentionPart from_row(const AttentionPart& part, uint64_t row, uint32_t head_dim_v) {
  return {part.max + row, part.sum + row, part.out + row * align_up(head_dim_v, kLanes)};
}

void copy_rows(const AttentionPart& part, uint64_t n_rows, uint32_t head_dim_v,
               const AttentionPart& into) {
  std::memcpy(into.max, part.max, n_rows * sizeof(float));
  std::memcpy(into.sum, part.sum, n_rows * sizeof(float));
  std::memcpy(into.out, part.out, n_rows * align_up(head_dim_v, kLanes) * sizeof(float));
}

}  // namespace

uint32_t attention_tile_positions(uint32_t n_group) { return std::max(1u, kTileRows / n_group); }

uint64_t attention_scratch_floats(uint32_t n_rows, uint32_t head_dim_k, uint32_t head_dim_v) {
  const uint64_t k_width = align_up(head_dim_k, kLanes), v_width = align_up(head_dim_v, kLanes);
  // Per row its query and its scores; widened, some rows of K and of V.
  return n_rows * (k_width + kScoreStride) + kWidenedKeys * k_width + kWidenedValues * v_width;
}

uint64_t attention_part_floats(uint32_t n_rows, uint32_t head_dim_v) {
  return 2 * align_up(n_rows, kLanes) + n_rows * align_up(head_dim_v, kLanes);
}

uint64_t attention_tile_floats(uint32_t n_rows, uint32_t head_dim_k, uint32_t head_dim_v) {
  return attention_scratch_floats(n_rows, head_dim_k, head_dim_v) +
         2 * attention_part_floats(n_rows, head_dim_v);
}

AttentionPart attention_part(float* floats, uint32_t n_rows) {
  const uint64_t n = align_up(n_rows, kLanes);
  return {floats, floats + n, floats + 2 * n};
}

ChunkRange chunks_of(const AttentionTile& tile) {
  const uint32_t last_key = tile.n_keys + tile.n_positions - 2;
  return {first_chunk(tile, 0), last_key / kPositionsPerPage + 1};
}

void attend_chunk(const KernelSet& kernels, const AttentionTile& tile, uint32_t chunk,
                  const AttentionPart& part, float* scratch) {
  const PositionRange positions = positions_of(tile, chunk);
  const uint32_t first = chunk * kPositionsPerPage;
  KeyRange seen[kTileRows];
  for (uint32_t j = positions.begin; j < positions.end; ++j) {
    const uint32_t from = first_key(tile, j);
    seen[j - positions.begin] = {from > first ? from - first : 0,
                                 std::min(kPositionsPerPage, tile.n_keys + j - first)};
  }
  const auto* page = static_cast<const std::byte*>(tile.kv.pages[chunk]);
  const AttentionChunk work{.q = tile.q + positions.begin * tile.q_position_stride,
                            .q_position_stride = tile.q_position_stride,
                            .q_head_stride = tile.q_head_stride,
                            .n_positions = positions.end - positions.begin,
                            .n_group = tile.n_group,
                            .seen = seen,
                            .keys = page + tile.kv.k_offset_bytes,
                            .values = page + tile.kv.v_offset_bytes,
                            .k_type = tile.kv.k_type,
                            .v_type = tile.kv.v_type,
                            .head_dim_k = tile.kv.head_dim_k,
                            .head_dim_v = tile.kv.head_dim_v,
                            .scale = tile.scale};
  const uint64_t row = uint64_t{positions.begin} * tile.n_group;
  kernels.attention(work, from_row(part, row, tile.kv.head_dim_v), scratch);
}

void merge_chunk(const KernelSet& kernels, const AttentionTile& tile, uint32_t chunk,
                 const AttentionPart& part, const AttentionPart& state) {
  const PositionRange positions = positions_of(tile, chunk);
  // First chunks ascend with positions: those that have a state come first.
  uint32_t first = positions.begin;
  while (first < positions.end && first_chunk(tile, first) < chunk) ++first;
  const uint32_t dim = tile.kv.head_dim_v;
  const auto at = [&](const AttentionPart& of, uint32_t position) {
    return from_row(of, uint64_t{position} * tile.n_group, dim);
  };
  kernels.attention_merge(at(part, positions.begin), (first - positions.begin) * tile.n_group, dim,
                          at(state, positions.begin));
  copy_rows(at(part, first), uint64_t{positions.end - first} * tile.n_group, dim, at(state, first));
}

void finish(const AttentionTile& tile, const AttentionPart& state) {
  const uint32_t dim = tile.kv.head_dim_v;
  for (uint32_t r = 0; r < tile.n_positions * tile.n_group; ++r) {
    const uint32_t g = r % tile.n_group;
    const float* o = state.out + r * align_up(dim, kLanes);
    float* out = tile.out + r / tile.n_group * tile.out_position_stride + g * tile.out_head_stride;
    float sum = state.sum[r];
    if (tile.sinks != nullptr) {
      const float sink = tile.sinks[g];
      const float max = sink > state.max[r] ? sink : state.max[r];
      const float keep = scalar::exp_f32(state.max[r] - max);
      sum = std::fma(sum, keep, scalar::exp_f32(sink - max));
      const float inverse = 1.0f / sum;
      for (uint32_t d = 0; d < dim; ++d) out[d] = o[d] * keep * inverse;
      continue;
    }
    const float inverse = 1.0f / sum;
    for (uint32_t d = 0; d < dim; ++d) out[d] = o[d] * inverse;
  }
}

void attend(const KernelSet& kernels, const AttentionTile& tile, float* scratch) {
  const uint32_t n_rows = tile.n_positions * tile.n_group;
  const uint32_t dim_v = tile.kv.head_dim_v;
  const AttentionPart state = attention_part(scratch, n_rows);
  const AttentionPart part = attention_part(scratch + attention_part_floats(n_rows, dim_v), n_rows);
  float* rest = scratch + 2 * attention_part_floats(n_rows, dim_v);
  const ChunkRange chunks = chunks_of(tile);
  for (uint32_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
    const bool all_new = first_chunk(tile, 0) == chunk;
    attend_chunk(kernels, tile, chunk, all_new ? state : part, rest);
    if (!all_new) merge_chunk(kernels, tile, chunk, part, state);
  }
  finish(tile, state);
}

}  // namespace hypura::kernels
