#include "native/runtime/opened_model.h"

#include <algorithm>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/nvme_io/compare_copies.h"
#include "native/nvme_io/fault_io.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

using nvme_io::Arena, nvme_io::IoBackend, nvme_io::ModelFile;

scheduler::CacheSizes cache_sizes(const LoadBudget& budget) {
  return {.trunk_bytes = budget.trunk_bytes,
          .pinned_bytes = budget.pinned_bytes,
          .ring_bytes = budget.ring_bytes,
          .pool_slot_bytes = budget.pool_slot_bytes,
          .pool_slots = budget.pool_slots,
          .row_slots = budget.row_slots,
          .row_slot_bytes = budget.row_slot_bytes,
          .pin_count = budget.pin_count};
}

Result<std::unique_ptr<IoBackend>> open_io(const EngineOptions& options, uint32_t drives,
                                           EngineFacts& facts) {
  const uint32_t depth = std::min(options.io_depth * drives, kIoDepthMax);
  HYPURA_TRY_ASSIGN(nvme_io::OpenedBackend opened,
                    nvme_io::open_backend(options.io, depth, drives));
  facts.io_backend = opened.backend->capabilities().name;
  facts.io_reason = opened.reason;
  if (options.faults.empty()) return std::move(opened.backend);
  HYPURA_TRY_ASSIGN(nvme_io::FaultSchedule schedule, nvme_io::FaultSchedule::parse(options.faults));
  // A buffered backend takes any alignment.
  const uint32_t alignment = opened.backend->capabilities().direct ? nvme_io::kSectorBytes : 1;
  return std::unique_ptr<IoBackend>(std::make_unique<nvme_io::FaultIo>(
      std::move(opened.backend), std::move(schedule), alignment));
}

Status of_file(const Status& status, uint32_t file) {
  Status::Detail detail = *status.detail();
  detail.file = file;
  return Status(std::move(detail));
}

Result<std::vector<ModelFile>> open_files(const LoadMessage& message, bool direct,
                                          EngineFacts& facts) {
  std::vector<ModelFile> files;
  facts.mirrors.resize(message.copies.copies - 1);
  for (uint32_t i = 0; i < message.files.size(); ++i) {
    const LoadMessage::File& file = message.files[i];
    const nvme_io::FileIdentity identity{.size_bytes = file.size_bytes,
                                         .mtime_ns = file.mtime_ns,
                                         .inode = file.inode,
                                         .device = file.device};
    Result<ModelFile> opened = ModelFile::open(file.path, identity, direct);
    if (!opened.ok()) return of_file(opened.status(), i);
    if (!opened->direct()) {
      const uint32_t number = i / message.n_files();
      EngineFacts::Direct& copy = number == 0 ? facts.own : facts.mirrors[number - 1];
      copy.direct = false;
      copy.direct_reason =
          direct ? opened->direct_reason() : "the backend reads through the page cache";
    }
    files.push_back(std::move(opened).value());
  }
  return files;
}

// Reads what is not verified yet, and learns what each drive delivers.
Status compare_copies(const LoadMessage& message, std::span<const ModelFile> files,
                      IoBackend& backend, CompareCounters& compared,
                      const std::atomic<bool>& cancelled, scheduler::CopyLayout& layout) {
  nvme_io::CompareRequest request{.files = files,
                                  .n_files = message.n_files(),
                                  .drives = message.copies.drives,
                                  .verified = {},
                                  .memory_bytes = message.budget.budget_bytes};
  for (const LoadMessage::File& file : message.files) request.verified.push_back(file.verified);
  compared.bytes_total.store(nvme_io::bytes_to_compare(request), std::memory_order_relaxed);
  HYPURA_TRY_ASSIGN(const auto speeds,
                    nvme_io::compare_copies(request, backend, cancelled, compared.bytes));
  for (size_t i = 0; i < layout.bytes_per_second.size(); ++i)
    if (speeds[i] > 0) layout.bytes_per_second[i] = speeds[i];
  return {};
}

// The bytes in memory may be of any copy, so each must be what was compared.
Status check_unchanged(std::span<const ModelFile> files) {
  for (uint32_t i = 0; i < files.size(); ++i)
    if (const Status status = files[i].check_unchanged(); !status.ok()) return of_file(status, i);
  return {};
}

Status make_scratch(const LoadMessage& message, uint32_t threads, const kernels::KernelSet& kernels,
                    OpenedModel& model) {
  HYPURA_TRY_ASSIGN(const std::span<std::byte> kv_memory,
                    model.arena->carve(message.budget.kv_bytes, kDirectAlignmentBytes));
  HYPURA_TRY_ASSIGN(
      model.kv, model::KvCache::create(message.spec, message.budget.n_ctx,
                                       message.budget.n_sequences, kv_memory,
                                       {.k = message.budget.k_type, .v = message.budget.v_type}));
  HYPURA_TRY_ASSIGN(const std::span<std::byte> memory,
                    model.arena->carve(message.budget.scratch_bytes, kDirectAlignmentBytes));
  Carver carver(memory.data());
  model.scratch.emplace(message.spec, measure_options(message, threads), &kernels, carver);
  return {};
}

}  // namespace

MeasureOptions measure_options(const LoadMessage& message, uint32_t threads) {
  return {.batch_positions = message.budget.batch_positions,
          .logits_rows = message.budget.logits_rows,
          .threads = threads,
          .n_ctx = message.budget.n_ctx,
          .n_sequences = message.budget.n_sequences,
          .kv_types = {.k = message.budget.k_type, .v = message.budget.v_type}};
}

Status OpenedModel::open_cache(const LoadMessage& message, const EngineOptions& options,
                               const scheduler::Plan& plan, scheduler::EventRing& events, CompareCounters& compared,
                               const std::atomic<bool>& cancelled, const Publish& publish) {
  scheduler::CopyLayout layout = message.copies;
  HYPURA_TRY_ASSIGN(std::unique_ptr<IoBackend> backend,
                    open_io(options, layout.drive_count(), facts));
  HYPURA_TRY_ASSIGN(files, open_files(message, backend->capabilities().direct, facts));
  HYPURA_TRY(compare_copies(message, files, *backend, compared, cancelled, layout));
  facts.drive_bytes_per_second = layout.bytes_per_second;
  HYPURA_TRY_ASSIGN(arena, Arena::create(*placed_bytes(message.budget)));
  HYPURA_TRY(arena->touch(cancelled));
  HYPURA_TRY_ASSIGN(
      cache, scheduler::BlockCache::create(message.table, cache_sizes(message.budget), files,
                                           std::move(backend), options.io_depth, *arena, events,
                                           layout));
  publish(cache->counters());
  HYPURA_TRY(cache->load(plan, cancelled));
  if (layout.copies == 1) return {};
  HYPURA_TRY(check_unchanged(files));
  cache->copies_checked();
  return {};
}

// Files as they are, mapped or copied; no reads follow, so no backend is opened.
Status OpenedModel::open_images(const LoadMessage& message, const std::atomic<bool>& cancelled,
                                const Publish& publish) {
  const bool copies = message.budget.placement == WeightPlacement::kCopied;
  HYPURA_TRY_ASSIGN(files, open_files(message, copies, facts));
  facts.io_backend = copies ? "copy" : "mmap";
  facts.io_reason = "asked for";
  if (!copies) facts.own.direct_reason = "the kernel pages the file in";
  HYPURA_TRY_ASSIGN(arena, Arena::create(*placed_bytes(message.budget)));
  HYPURA_TRY(arena->touch(cancelled));

  std::vector<const std::byte*> images;
  std::vector<std::span<std::byte>> places;
  for (const ModelFile& file : files) {
    if (copies) {
      HYPURA_TRY_ASSIGN(const std::span<std::byte> place,
                        arena->carve(align_up(file.size_bytes(), kDirectAlignmentBytes),
                                     kDirectAlignmentBytes));
      places.push_back(place);
      images.push_back(place.data());
    } else {
      HYPURA_TRY_ASSIGN(nvme_io::MappedFile image, nvme_io::MappedFile::map(file));
      images.push_back(image.data());
      mapped.push_back(std::move(image));
    }
  }
  cache = scheduler::BlockCache::create_fixed(message.table, std::move(images));
  publish(cache->counters());
  for (size_t i = 0; i < places.size(); ++i)
    HYPURA_TRY(nvme_io::copy_file(files[i], places[i], cancelled));
  return {};
}

Status OpenedModel::open(const LoadMessage& message, const EngineOptions& options,
                         const scheduler::Plan& plan, scheduler::EventRing& events, CompareCounters& compared,
                         const std::atomic<bool>& cancelled, const Publish& publish) {
  if (message.budget.placement == WeightPlacement::kCache) {
    HYPURA_TRY(open_cache(message, options, plan, events, compared, cancelled, publish));
  } else {
    HYPURA_TRY(open_images(message, cancelled, publish));
  }

  const kernels::KernelSet& kernels = kernels::choose_kernels(nullptr);
  HYPURA_TRY_ASSIGN(pool, kernels::ThreadPool::create(options.threads));
  HYPURA_TRY(make_scratch(message, options.threads, kernels, *this));
  HYPURA_TRY_ASSIGN(decoder, model::Decoder::create({
                                 .spec = message.spec,
                                 .tensors = message.tensors,
                                 .inv_freq = message.inv_freq,
                                 .expert_type =
                                     [&table = message.table](BlockId block, uint32_t extent) {
                                       return table.extents(block)[extent].type;
                                     },
                                 .cache = *cache,
                                 .kernels = kernels,
                                 .pool = *pool,
                                 .kv = *kv,
                                 .scratch = scratch->decoder,
                                 .batch_positions = message.budget.batch_positions,
                                 .logits_rows = message.budget.logits_rows,
                             }));
  facts.isa = kernels.name;
  facts.threads = options.threads;
  facts.arena_bytes = arena->size_bytes();
  facts.huge_page_bytes = arena->huge_page_bytes();
  return {};
}

}  // namespace hypura::runtime
