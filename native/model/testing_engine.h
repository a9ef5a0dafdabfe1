// A decoder over the real block cache, drive and kernels, on a temporary file: what the runtime does, for tests.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <sys/stat.h>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "native/base/hot_path_guard.h"
#include "native/base/testing.h"
#include "native/model/decoder.h"
#include "native/model/testing_model.h"
#include "native/nvme_io/arena.h"
#include "native/nvme_io/io_backend.h"
#include "native/nvme_io/model_file.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/hull.h"
#include "native/scheduler/plan.h"

namespace hypura::model {

struct EngineOptions {
  uint32_t n_threads = 2;
  uint32_t batch_positions = 64;
  uint32_t logits_rows = 64;
  uint32_t n_ctx = 512;
  uint32_t n_sequences = 2;
  KvTypes kv_types{};
  bool resident = true;     // all bands pinned, all experts in the pool
  uint32_t ring_slots = 3;  // of the largest band; when not resident
  uint32_t pool_slots = 2;  // when not resident
  uint32_t row_slots = 2;
  const kernels::KernelSet* kernels = kernels::runnable_kernel_sets()[0];
};

class TestEngine {
 public:
  // Null after a failed expectation that says why.
  static std::unique_ptr<TestEngine> create(const TinyModel& model, const EngineOptions& options) {
    std::unique_ptr<TestEngine> engine(new TestEngine(model, options));
    const Status status = engine->open();
    if (status.ok()) return engine;
    testing::fail(__FILE__, __LINE__, "engine: " + status.message());
    return nullptr;
  }
  // Everything but the decoder, whose creation is the caller's to judge.
  static Result<std::unique_ptr<Decoder>> try_decoder(const TinyModel& model,
                                                      const EngineOptions& options) {
    static std::unique_ptr<TestEngine> kept;  // the decoder refers to it
    kept.reset(new TestEngine(model, options));
    HYPURA_TRY(kept->open());
    return std::move(kept->decoder_);
  }
  ~TestEngine() {
    decoder_.reset();
    cache_.reset();
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  // One sweep; rows of logits are appended to `logits`.
  Status sweep(std::span<const TokenEntry> entries, std::vector<float>& logits,
               SweepObserver* observer = nullptr) {
    struct Sink {
      std::vector<float>* logits;
      uint64_t begin;
      uint32_t n_vocab;
    } sink{&logits, logits.size(), model_.spec().n_vocab};
    bool with_head = false;
    for (const TokenEntry& entry : entries) with_head = with_head || entry.wants_logits;
    logits.reserve(logits.size() + entries.size() * sink.n_vocab);
    TokenBatch batch{
        .entries = entries, .logits_context = &sink, .observer = observer, .cancelled = &cancelled};
    batch.on_logits = [](void* context, uint32_t first_row, uint32_t n_rows,
                         const float* rows) -> Status {
      auto& s = *static_cast<Sink*>(context);
      if (s.logits->size() != s.begin + uint64_t{first_row} * s.n_vocab)
        return Status::error(Code::kInternal, "rows of logits come out of order");
      s.logits->insert(s.logits->end(), rows, rows + uint64_t{n_rows} * s.n_vocab);
      return {};
    };
    cache_->begin_sweep(plan_, {.number = ++sweeps_,
                                .with_head = with_head,
                                .next_with_head = with_head,
                                .prefill = entries.size() > 1,
                                .cancelled = &cancelled});
    Status status;
    {
      const HotPathGuard guard;
      status = decoder_->sweep(batch);
    }
    cache_->end_sweep();
    return status;
  }

  // Logits of all tokens, which continue sequence `sequence`, in sweeps of at most `chunk` positions.
  std::vector<float> logits(std::span<const uint32_t> tokens, uint32_t chunk,
                            uint32_t sequence = 0) {
    std::vector<float> all;
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      std::vector<TokenEntry> entries;
      for (size_t i = begin; i < std::min<size_t>(begin + chunk, tokens.size()); ++i)
        entries.push_back({.token = tokens[i],
                           .position = kv_->length(sequence) + static_cast<uint32_t>(i - begin),
                           .sequence = sequence,
                           .wants_logits = true});
      const Status status = sweep(entries, all);
      if (!status.ok()) {
        testing::fail(__FILE__, __LINE__, "sweep: " + status.message());
        return {};
      }
    }
    return all;
  }

  KvCache& kv() { return *kv_; }
  const scheduler::CacheCounters& counters() const { return cache_->counters(); }
  std::atomic<bool> cancelled{false};

 private:
  TestEngine(const TinyModel& model, const EngineOptions& options)
      : model_(model), options_(options), table_(model.table()), events_(1 << 12) {}

  Status open() {
    const ModelSpec& spec = model_.spec();
    HYPURA_TRY(write_file());
    const scheduler::CacheSizes sizes = cache_sizes();
    const uint64_t kv_bytes = KvCache::kv_bytes(spec, options_.n_ctx, options_.n_sequences, options_.kv_types);
    const uint64_t scratch =
        scratch_bytes(spec, options_.batch_positions, options_.logits_rows, options_.n_threads);
    HYPURA_TRY_ASSIGN(nvme_io::Arena arena,
                      nvme_io::Arena::create(
                          sizes.trunk_bytes + sizes.pinned_bytes + sizes.ring_bytes +
                          sizes.pool_slot_bytes * sizes.pool_slots +
                          sizes.row_slot_bytes * sizes.row_slots + kv_bytes + scratch + 64 * 4096));
    arena_ = std::make_unique<nvme_io::Arena>(std::move(arena));
    HYPURA_TRY_ASSIGN(nvme_io::OpenedBackend backend,
                      nvme_io::open_backend(nvme_io::BackendChoice::kPread, kIoDepthDefault));
    HYPURA_TRY_ASSIGN(
        cache_, scheduler::BlockCache::create(table_, sizes, files_, std::move(backend.backend),
                                              kIoDepthDefault, *arena_, events_));
    HYPURA_TRY(cache_->load({}, cancelled));
    HYPURA_TRY_ASSIGN(const std::span<std::byte> kv_memory, arena_->carve(kv_bytes, 64));
    HYPURA_TRY_ASSIGN(const std::span<std::byte> scratch_memory, arena_->carve(scratch, 64));
    HYPURA_TRY_ASSIGN(KvCache kv,
                      KvCache::create(spec, options_.n_ctx, options_.n_sequences, kv_memory,
                                      options_.kv_types));
    kv_ = std::make_unique<KvCache>(std::move(kv));
    HYPURA_TRY_ASSIGN(pool_, kernels::ThreadPool::create(options_.n_threads));
    HYPURA_TRY_ASSIGN(decoder_, Decoder::create({.spec = spec,
                                                 .tensors = model_.tensors,
                                                 .inv_freq = model_.inv_freq,
                                                 .expert_type =
                                                     [this](BlockId block, uint32_t extent) {
                                                       return model_.expert_type(block, extent);
                                                     },
                                                 .cache = *cache_,
                                                 .kernels = *options_.kernels,
                                                 .pool = *pool_,
                                                 .kv = *kv_,
                                                 .scratch = scratch_memory,
                                                 .batch_positions = options_.batch_positions,
                                                 .logits_rows = options_.logits_rows}));
    return {};
  }

  Status write_file() {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/hypura-model-test-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    if (fd < 0) return Status::error(Code::kIo, "no temporary file");
    size_t written = 0;
    while (written < model_.file.size()) {
      const ssize_t n = ::write(fd, model_.file.data() + written, model_.file.size() - written);
      if (n <= 0) break;
      written += static_cast<size_t>(n);
    }
    struct stat facts{};
    const bool ok = ::fstat(fd, &facts) == 0 && written == model_.file.size();
    ::close(fd);
    if (!ok) return Status::error(Code::kIo, "the temporary file could not be written");
    HYPURA_TRY_ASSIGN(nvme_io::ModelFile file,
                      nvme_io::ModelFile::open(
                          path_,
                          {.size_bytes = static_cast<uint64_t>(facts.st_size),
                           .mtime_ns = facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec,
                           .inode = facts.st_ino,
                           .device = facts.st_dev},
                          true));
    files_.push_back(std::move(file));
    return {};
  }

  uint64_t slot_bytes(BlockId id) const {
    uint64_t bytes = 0;
    for (const scheduler::Extent& extent : table_.extents(id))
      bytes += scheduler::placed_bytes(scheduler::hull_of(extent, kDirectAlignmentBytes));
    return bytes;
  }

  scheduler::CacheSizes cache_sizes() const {
    scheduler::CacheSizes sizes;
    uint64_t band_max = 0;
    uint32_t n_experts = 0;
    for (uint32_t i = 0; i < table_.size(); ++i) {
      const BlockId id{i};
      const uint64_t bytes = slot_bytes(id);
      switch (table_[id].kind) {
        case scheduler::BlockKind::kTrunk:
          sizes.trunk_bytes += bytes;
          break;
        case scheduler::BlockKind::kBand:
          band_max = std::max(band_max, bytes);
          break;
        case scheduler::BlockKind::kRowBand:
          sizes.row_slot_bytes = std::max(sizes.row_slot_bytes, bytes);
          break;
        case scheduler::BlockKind::kExpert:
          ++n_experts;
          sizes.pool_slot_bytes = std::max(sizes.pool_slot_bytes, bytes);
          break;
      }
    }
    const auto n_bands = static_cast<uint32_t>(table_.pin_order().size());
    sizes.pin_count = options_.resident ? n_bands : n_bands / 4;
    for (const BlockId id : table_.pin_order().first(sizes.pin_count))
      sizes.pinned_bytes += slot_bytes(id);
    sizes.ring_bytes = options_.resident ? 0 : options_.ring_slots * band_max;
    sizes.pool_slots = n_experts == 0 ? 0 : options_.resident ? n_experts : options_.pool_slots;
    sizes.row_slots = options_.row_slots;
    return sizes;
  }

  const TinyModel& model_;
  EngineOptions options_;
  scheduler::BlockTable table_;
  scheduler::EventRing events_;
  scheduler::Plan plan_;
  std::string path_;
  std::vector<nvme_io::ModelFile> files_;
  std::unique_ptr<nvme_io::Arena> arena_;
  std::unique_ptr<scheduler::BlockCache> cache_;
  std::unique_ptr<kernels::ThreadPool> pool_;
  std::unique_ptr<KvCache> kv_;
  std::unique_ptr<Decoder> decoder_;
  uint32_t sweeps_ = 0;
};

}  // namespace hypura::model
