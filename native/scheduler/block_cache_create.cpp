// Making a BlockCache: every size is checked against the table before a byte is carved.
#include <algorithm>
#include <string>

#include "native/base/bytes.h"
#include "native/nvme_io/arena.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/model_file.h"
#include "native/scheduler/block_cache_state.h"
#include "native/scheduler/fixed_weights.h"
#include "native/scheduler/poison.h"

namespace hypura::scheduler {
namespace {

Status disagree(const std::string& what) {
  return Status::error(Code::kInternal, "the regions do not fit the block table: " + what);
}

std::string block_name(BlockId block) { return "block " + std::to_string(index_of(block)); }

Status check_extents(const BlockTable& table, std::span<const nvme_io::ModelFile> files) {
  for (uint32_t i = 0; i < table.size(); ++i) {
    const BlockId id{i};
    const Block& block = table[id];
    if (block.n_extents == 0 || block.n_extents > kExtentsPerBlockMax ||
        (block.kind != BlockKind::kExpert && block.n_extents != 1))
      return disagree(block_name(id) + " has " + std::to_string(block.n_extents) + " extents");
    for (const Extent& extent : table.extents(id)) {
      const auto end = checked_add(extent.offset_bytes, extent.size_bytes);
      if (extent.file >= files.size() || extent.size_bytes == 0 || !end ||
          *end > files[extent.file].size_bytes())
        return disagree(block_name(id) + " has an extent outside of its file");
    }
  }
  return {};
}

Status check_pin_order(const BlockTable& table, uint32_t pin_count) {
  std::vector<bool> named(table.size(), false);
  for (BlockId band : table.pin_order()) {
    if (index_of(band) >= table.size() || table[band].kind != BlockKind::kBand ||
        named[index_of(band)])
      return disagree("the pin order names " + block_name(band) + " wrongly");
    named[index_of(band)] = true;
  }
  for (uint32_t i = 0; i < table.size(); ++i)
    if (table[BlockId{i}].kind == BlockKind::kBand && !named[i])
      return disagree("the pin order lacks " + block_name(BlockId{i}));
  if (pin_count > table.pin_order().size())
    return disagree(std::to_string(pin_count) + " bands are pinned of " +
                    std::to_string(table.pin_order().size()));
  return {};
}

// What the table asks of each region.
struct Needs {
  uint64_t trunk = 0, pinned = 0, largest_streamed = 0, largest_expert = 0, largest_row = 0;
  uint32_t experts = 0, rows = 0;
};

Needs needs_of(const BlockHulls& hulls, uint32_t pin_count) {
  const BlockTable& table = hulls.table();
  Needs needs;
  for (uint32_t i = 0; i < table.size(); ++i) {
    const BlockId id{i};
    const uint64_t bytes = hulls.slot_bytes(id);
    switch (table[id].kind) {
      case BlockKind::kTrunk: needs.trunk += bytes; break;
      case BlockKind::kBand: break;
      case BlockKind::kRowBand:
        ++needs.rows;
        needs.largest_row = std::max(needs.largest_row, bytes);
        break;
      case BlockKind::kExpert:
        ++needs.experts;
        needs.largest_expert = std::max(needs.largest_expert, bytes);
        break;
    }
  }
  for (size_t rank = 0; rank < table.pin_order().size(); ++rank) {
    const uint64_t bytes = hulls.slot_bytes(table.pin_order()[rank]);
    if (rank < pin_count)
      needs.pinned += bytes;
    else
      needs.largest_streamed = std::max(needs.largest_streamed, bytes);
  }
  return needs;
}

Status check_sizes(const CacheSizes& sizes, const Needs& needs) {
  const auto lacks = [](const char* region, uint64_t has, uint64_t need) {
    return disagree(std::string(region) + " has " + std::to_string(has) + " bytes and needs " +
                    std::to_string(need));
  };
  for (uint64_t bytes : {sizes.ring_bytes, sizes.pool_slot_bytes, sizes.row_slot_bytes})
    if (bytes % kDirectAlignmentBytes != 0)
      return disagree(std::to_string(bytes) + " is not a multiple of " +
                      std::to_string(kDirectAlignmentBytes));
  if (sizes.trunk_bytes < needs.trunk) return lacks("the trunk", sizes.trunk_bytes, needs.trunk);
  if (sizes.pinned_bytes < needs.pinned)
    return lacks("the pinned stack", sizes.pinned_bytes, needs.pinned);
  if (sizes.ring_bytes < needs.largest_streamed)
    return lacks("the ring", sizes.ring_bytes, needs.largest_streamed);
  if (needs.experts > 0 && sizes.pool_slot_bytes < needs.largest_expert)
    return lacks("an expert slot", sizes.pool_slot_bytes, needs.largest_expert);
  if (needs.experts > 0 && sizes.pool_slots == 0) return disagree("the expert pool has no slot");
  if (needs.rows > 0 && sizes.row_slot_bytes < needs.largest_row)
    return lacks("a row slot", sizes.row_slot_bytes, needs.largest_row);
  if (needs.rows > 0 && sizes.row_slots == 0) return disagree("the row pool has no slot");
  return {};
}

Result<std::span<std::byte>> carve(nvme_io::Arena& arena, uint64_t count, uint64_t bytes_each) {
  const auto bytes = checked_mul(count, bytes_each);
  if (!bytes) return disagree("a region's size wraps");
  if (*bytes == 0) return std::span<std::byte>();
  return arena.carve(*bytes, kDirectAlignmentBytes);
}

uint32_t count_of(const BlockTable& table, BlockKind kind) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < table.size(); ++i) count += table[BlockId{i}].kind == kind;
  return count;
}

// As many bands as can be inside: each takes a page at least. Every band may be inside twice, once being read for nobody.
// Without a ring, one may be cut from the pinned stack later.
uint32_t ring_slots(const BlockTable& table, const CacheSizes& sizes) {
  const uint64_t most = sizes.ring_bytes > 0 ? sizes.ring_bytes : sizes.pinned_bytes;
  return static_cast<uint32_t>(
      std::min<uint64_t>(2 * table.pin_order().size(), most / kDirectAlignmentBytes));
}

FetchRanges fetch_ranges(const BlockTable& table, const CacheSizes& sizes, uint32_t io_depth) {
  FetchRanges ranges;
  ranges.rows = sizes.pool_slots;
  ranges.ring = ranges.rows + sizes.row_slots;
  ranges.load = ranges.ring + ring_slots(table, sizes);
  // Small blocks make reads that end at once: twice the depth keeps the drive busy while the loop wakes up.
  ranges.count = ranges.load + 2 * std::clamp(io_depth, 1u, kIoDepthMax);
  return ranges;
}

std::string last_part(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

}  // namespace

BlockCache::State::State(const BlockTable& table_in, const CacheSizes& sizes_in,
                         const CacheRegions& regions_in,
                         std::vector<uint32_t> file_alignment_bytes, std::vector<IoFile> files,
                         std::unique_ptr<nvme_io::IoBackend> backend, uint32_t io_depth,
                         uint64_t page_bytes, EventRing& events, const CopyLayout& copies)
    : table(table_in),
      sizes(sizes_in),
      regions(regions_in),
      hulls(table, std::move(file_alignment_bytes)),
      log(hulls, events),
      fetches(fetch_ranges(table, sizes, io_depth * copies.drive_count())),
      data(table.size(), nullptr),
      io(std::make_unique<IoThread>(
          hulls, std::move(files), std::move(backend), io_depth, fetches.count,
          IoCounters{log.counters.read_bytes, log.counters.reads, log.counters.retries,
                     log.counters.copies},
          copies)),
      stream(hulls, *io, log, regions.ring, fetches.load - fetches.ring, fetches.ring,
             sizes.pin_count),
      experts(hulls, *io, log, regions.experts, sizes.pool_slot_bytes, sizes.pool_slots, 0,
              count_of(table, BlockKind::kExpert)),
      guesses(hulls, experts, log, sizes.pool_slot_bytes, count_of(table, BlockKind::kExpert)),
      followers(table),
      rows(hulls, *io, log, regions.rows, sizes.row_slot_bytes, sizes.row_slots, fetches.rows,
           count_of(table, BlockKind::kRowBand)),
      job_of_fetch(fetches.count - fetches.load, 0),
      division{sizes.pin_count, sizes.pool_slots, sizes.ring_bytes},
      target(division),
      stack_hole(page_bytes),
      pool_hole(page_bytes) {
  poison(regions.ring);
  for (uint32_t i = fetches.count; i-- > fetches.load;) free_fetches.push_back(i);

  const auto place = [&](BlockId block, std::span<std::byte> region, uint64_t& at) {
    data[index_of(block)] = region.data() + at + hulls.hull(block, 0).lead_bytes;
    at += hulls.slot_bytes(block);
  };
  uint64_t at = 0;
  for (uint32_t i = 0; i < table.size(); ++i)
    if (table[BlockId{i}].kind == BlockKind::kTrunk) place(BlockId{i}, regions.trunk, at);
  at = 0;
  stack_bytes.push_back(0);
  for (uint32_t rank = 0; rank < sizes.pin_count; ++rank) {
    place(table.pin_order()[rank], regions.pinned, at);
    stack_bytes.push_back(at);
  }
  fill_end = division.pin_count;
  count_placed();
}

BlockCache::State::~State() {
  io.reset();  // first: the kernel may still write into the regions
  for (const auto& region : {regions.pinned, regions.ring, regions.experts, regions.rows})
    unpoison(region);
}

Result<std::unique_ptr<BlockCache>> BlockCache::create(
    const BlockTable& table, const CacheSizes& sizes, std::span<const nvme_io::ModelFile> files,
    std::unique_ptr<nvme_io::IoBackend> backend, uint32_t io_depth, nvme_io::Arena& arena,
    EventRing& events, const CopyLayout& copies) {
  const size_t n_files = files.size() / copies.copies;
  HYPURA_TRY(check_extents(table, files.first(n_files)));
  HYPURA_TRY(check_pin_order(table, sizes.pin_count));
  std::vector<uint32_t> alignments;
  std::vector<IoFile> io_files;
  for (size_t i = 0; i < n_files; ++i) {
    IoFile io_file{.fds = {}, .name = last_part(files[i].path())};
    uint32_t alignment = 0;
    for (size_t copy = i; copy < files.size(); copy += n_files) {
      io_file.fds.push_back(files[copy].fd());
      alignment = std::max(alignment, files[copy].alignment_bytes());
    }
    alignments.push_back(alignment);
    io_files.push_back(std::move(io_file));
  }
  HYPURA_TRY(check_sizes(sizes, needs_of(BlockHulls(table, alignments), sizes.pin_count)));
  CacheRegions regions;
  HYPURA_TRY_ASSIGN(regions.trunk, carve(arena, 1, sizes.trunk_bytes));
  HYPURA_TRY_ASSIGN(regions.pinned, carve(arena, 1, sizes.pinned_bytes));
  HYPURA_TRY_ASSIGN(regions.ring, carve(arena, 1, sizes.ring_bytes));
  HYPURA_TRY_ASSIGN(regions.experts, carve(arena, sizes.pool_slots, sizes.pool_slot_bytes));
  HYPURA_TRY_ASSIGN(regions.rows, carve(arena, sizes.row_slots, sizes.row_slot_bytes));
  return std::unique_ptr<BlockCache>(new BlockCache(
      std::make_unique<State>(table, sizes, regions, std::move(alignments), std::move(io_files),
                              std::move(backend), io_depth, arena.page_bytes(), events, copies)));
}

std::unique_ptr<BlockCache> BlockCache::create_fixed(const BlockTable& table,
                                                     std::vector<const std::byte*> files) {
  return std::unique_ptr<BlockCache>(
      new BlockCache(std::make_unique<FixedWeights>(table, std::move(files))));
}

BlockCache::BlockCache(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockCache::BlockCache(std::unique_ptr<FixedWeights> fixed) : fixed_(std::move(fixed)) {}
BlockCache::~BlockCache() = default;

}  // namespace hypura::scheduler
