// Work is (kv head, tile of queries). Where that gives less than two pieces per thread, as when one token is decoded by many
// threads, it is (kv head, tile, chunk of keys): parts are computed in waves of as many as there is room for, and each
// wave is merged in ascending order. Same bits either way (E6).
#include "native/model/layers/query_tiles.h"

#include <algorithm>

#include "native/kernels/attention.h"

namespace hypura::model {
namespace {

using kernels::AttentionPart;
using kernels::AttentionTile;
using kernels::ChunkRange;

// The batch's entries as tiles; returns how many.
uint32_t cut_tiles(const Sweep& sweep, uint32_t n_group) {
  const auto entries = sweep.entries();
  const uint32_t n_most = kernels::attention_tile_positions(n_group);
  QueryTile* tiles = sweep.scratch.tiles;
  uint32_t n = 0;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    const bool continues = i > 0 && entries[i].sequence == entries[i - 1].sequence &&
                           entries[i].position == entries[i - 1].position + 1;
    if (continues && tiles[n - 1].n_positions < n_most)
      ++tiles[n - 1].n_positions;
    else
      tiles[n++] = {.entry = i, .n_positions = 1};
  }
  return n;
}

class Work {
 public:
  Work(const Sweep& sweep, uint16_t layer)
      : sweep_(sweep),
        layer_(layer),
        n_group_(sweep.spec.n_head / sweep.spec.n_head_kv),
        n_tiles_(cut_tiles(sweep, n_group_)),
        n_items_(n_tiles_ * sweep.spec.n_head_kv) {}

  void run() {
    const uint32_t n_threads = sweep_.pool.n_threads();
    if (n_threads > 1 && n_items_ < 2 * n_threads) {
      const uint32_t n_chunks = most_chunks();
      const uint32_t n_parts = kAttentionPartsPerThread * n_threads - n_items_;
      if (n_chunks > 1) return run_in_chunks(n_chunks, n_parts / n_items_);
    }
    run_whole();
  }

 private:
  // Items of one kv head follow each other, so that its keys stay in the cache from tile to tile.
  AttentionTile tile(uint32_t item) const {
    const ModelSpec& spec = sweep_.spec;
    const QueryTile& queries = sweep_.scratch.tiles[item % n_tiles_];
    const TokenEntry& entry = sweep_.entries()[queries.entry];
    const uint32_t kv_head = item / n_tiles_;
    const uint64_t head = uint64_t{queries.entry} * spec.n_head + uint64_t{kv_head} * n_group_;
    return {.q = sweep_.scratch.q + head * spec.head_dim_k,
            .q_position_stride = uint64_t{spec.n_head} * spec.head_dim_k,
            .q_head_stride = spec.head_dim_k,
            .out = sweep_.scratch.attention_out + head * spec.head_dim_v,
            .out_position_stride = uint64_t{spec.n_head} * spec.head_dim_v,
            .out_head_stride = spec.head_dim_v,
            .n_positions = queries.n_positions,
            .n_group = n_group_,
            .n_keys = entry.position + 1,
            .scale = spec.attention_scale,
            .kv = sweep_.kv.view(entry.sequence, layer_, kv_head)};
  }

  float* thread_scratch(uint32_t worker) const {
    return sweep_.scratch.thread_row + worker * sweep_.scratch.thread_row_floats;
  }

  // Part i of the scratch, for a tile's rows.
  AttentionPart part(uint32_t i, const AttentionTile& tile) const {
    const Scratch& s = sweep_.scratch;
    return kernels::attention_part(s.attention_parts + i * s.attention_part_floats,
                                   tile.n_positions * tile.n_group);
  }

  void run_whole() {
    sweep_.pool.for_each(n_items_, 1, [&](uint32_t begin, uint32_t end, uint32_t worker) {
      for (uint32_t item = begin; item < end; ++item)
        kernels::attend(sweep_.kernels, tile(item), thread_scratch(worker));
    });
  }

  uint32_t most_chunks() const {
    uint32_t most = 0;
    for (uint32_t item = 0; item < n_tiles_; ++item) {
      const ChunkRange chunks = kernels::chunks_of(tile(item));
      most = std::max(most, chunks.end - chunks.begin);
    }
    return most;
  }

  // n_wave: chunks of each item that are computed between two merges.
  void run_in_chunks(uint32_t n_chunks, uint32_t n_wave) {
    for (uint32_t first = 0; first < n_chunks; first += n_wave) {
      const uint32_t n = std::min(n_wave, n_chunks - first);
      sweep_.pool.for_each(n_items_ * n, 1, [&](uint32_t begin, uint32_t end, uint32_t worker) {
        for (uint32_t i = begin; i < end; ++i) {
          const AttentionTile of = tile(i / n);
          const ChunkRange chunks = kernels::chunks_of(of);
          const uint32_t chunk = chunks.begin + first + i % n;
          if (chunk < chunks.end)
            kernels::attend_chunk(sweep_.kernels, of, chunk, part(n_items_ + i, of),
                                  thread_scratch(worker));
        }
      });
      sweep_.pool.for_each(n_items_, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
        for (uint32_t item = begin; item < end; ++item) merge_wave(item, first, n);
      });
    }
  }

  void merge_wave(uint32_t item, uint32_t first, uint32_t n) const {
    const AttentionTile of = tile(item);
    const ChunkRange chunks = kernels::chunks_of(of);
    if (chunks.begin + first >= chunks.end) return;
    const uint32_t n_mine = std::min(n, chunks.end - chunks.begin - first);
    const AttentionPart state = part(item, of);
    for (uint32_t i = 0; i < n_mine; ++i)
      kernels::merge_chunk(sweep_.kernels, of, chunks.begin + first + i,
                           part(n_items_ + item * n + i, of), state);
    if (chunks.begin + first + n_mine == chunks.end) kernels::finish(of, state);
  }

  const Sweep& sweep_;
  const uint16_t layer_;
  const uint32_t n_group_;
  const uint32_t n_tiles_;
  const uint32_t n_items_;
};

}  // namespace

void attend_tiles(const Sweep& sweep, uint16_t layer) { Work(sweep, layer).run(); }

}  // namespace hypura::model
