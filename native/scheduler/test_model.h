// A random model for tests: a block table over random bytes, with blocks of every kind at odd offsets.
//
// Every byte of the file is random, so a lease that points one byte too far, or holds another block, differs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "native/scheduler/block_table.h"
#include "native/scheduler/hull.h"

namespace hypura::scheduler {

struct TestShape {
  uint32_t trunks = 3;
  uint32_t bands = 20;
  uint32_t head_bands = 2;  // of `bands`, the last ones
  uint32_t row_bands = 6;
  uint32_t experts = 0;
  uint32_t files = 1;
  uint32_t band_bytes_max = 40'000;
  uint32_t expert_bytes_max = 20'000;
};

struct TestModel {
  std::vector<std::vector<std::byte>> files;
  std::vector<Block> blocks;
  std::vector<Extent> extents;
  std::vector<BlockId> trunks, bands, row_bands, experts, pin_order;
  BlockId first_head_band = kNoBlock;

  BlockTable table() const { return {blocks, extents, pin_order, first_head_band}; }
  const std::byte* extent_bytes(BlockId block, uint32_t i) const {
    const Extent& extent = extents[blocks[index_of(block)].first_extent + i];
    return files[extent.file].data() + extent.offset_bytes;
  }
};

inline TestModel make_test_model(const TestShape& shape, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t limit) { return random() % limit; };
  TestModel model;
  model.files.resize(shape.files);
  const auto add_extent = [&](uint32_t bytes) {
    std::vector<std::byte>& file = model.files[below(shape.files)];
    const size_t offset = align_up(file.size() + below(3) * 32, 32);
    file.resize(offset + bytes);
    model.extents.push_back({.file = static_cast<uint32_t>(&file - model.files.data()),
                             .type = 0,
                             .offset_bytes = offset,
                             .size_bytes = bytes});
  };
  const auto add = [&](BlockKind kind, uint8_t n_extents, uint32_t bytes_max, uint32_t ordinal) {
    const BlockId id{static_cast<uint32_t>(model.blocks.size())};
    model.blocks.push_back({.tensor = 0,
                            .layer = static_cast<uint16_t>(ordinal / 4),
                            .expert = static_cast<uint16_t>(kind == BlockKind::kExpert ? ordinal % 4 : 0),
                            .kind = kind,
                            .n_extents = n_extents,
                            .reserved = 0,
                            .first_extent = static_cast<uint32_t>(model.extents.size()),
                            .row_begin = ordinal * 32,
                            .row_count = 32});
    for (uint32_t i = 0; i < n_extents; ++i)
      add_extent(32 * static_cast<uint32_t>(1 + below(bytes_max / 32)));
    return id;
  };
  for (uint32_t i = 0; i < shape.trunks; ++i)
    model.trunks.push_back(add(BlockKind::kTrunk, 1, 2000, i));
  // Row bands lie in the middle of the band ids, as a table in tensor order may have it.
  for (uint32_t i = 0; i < shape.bands; ++i) {
    if (i == shape.bands / 2)
      for (uint32_t row = 0; row < shape.row_bands; ++row)
        model.row_bands.push_back(add(BlockKind::kRowBand, 1, 9000, row));
    model.bands.push_back(add(BlockKind::kBand, 1, shape.band_bytes_max, i));
  }
  for (uint32_t i = 0; i < shape.experts; ++i)
    model.experts.push_back(add(BlockKind::kExpert, static_cast<uint8_t>(2 + below(2)),
                                shape.expert_bytes_max, i));
  if (shape.head_bands > 0)
    model.first_head_band = model.bands[shape.bands - shape.head_bands];
  model.pin_order = model.bands;
  std::shuffle(model.pin_order.begin(), model.pin_order.end(), random);
  for (auto& file : model.files) {
    uint64_t word = random() | 1;
    for (auto& byte : file) {
      word = word * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<std::byte>(word >> 56);
    }
  }
  return model;
}

}  // namespace hypura::scheduler
