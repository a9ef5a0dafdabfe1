#include "native/scheduler/fixed_weights.h"

#include <utility>

namespace hypura::scheduler {

FixedWeights::FixedWeights(const BlockTable& table, std::vector<const std::byte*> files)
    : table_(table), files_(std::move(files)) {
  std::array<size_t, 2> counts{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    const BlockKind kind = table[BlockId{i}].kind;
    if (kind == BlockKind::kRowBand) ++counts[0];
    if (kind == BlockKind::kExpert) ++counts[1];
  }
  for (size_t i = 0; i < requests_.size(); ++i) requests_[i].blocks.reserve(counts[i]);
}

uint32_t FixedWeights::run(BlockId first, std::span<BandView> views) {
  uint32_t count = 0;
  for (BandView& view : views) {
    const BlockId band{index_of(first) + count};
    if (!is(band, BlockKind::kBand)) break;
    const Block& block = table_[band];
    view = {band, extent(band, 0), block.row_begin, block.row_count};
    used(band);
    ++count;
  }
  return count;
}

void FixedWeights::request(std::span<const BlockId> blocks) {
  Request& request = request_of(table_[blocks.front()].kind);
  request.blocks.assign(blocks.begin(), blocks.end());
  request.next = 0;
  for (const BlockId block : blocks) used(block);
}

std::optional<BlockId> FixedWeights::next(BlockKind kind) {
  const std::optional<BlockId> block = another(kind);
  if (block) ++request_of(kind).next;
  return block;
}

std::optional<BlockId> FixedWeights::another(BlockKind kind) {
  const Request& request = request_of(kind);
  if (request.next == request.blocks.size()) return std::nullopt;
  return request.blocks[request.next];
}

void FixedWeights::used(BlockId block) {
  uint64_t bytes = 0;
  for (const Extent& extent : table_.extents(block)) bytes += extent.size_bytes;
  counters.hits.fetch_add(1, std::memory_order_relaxed);
  counters.hit_bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace hypura::scheduler
