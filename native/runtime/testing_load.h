// A Load message for a TinyModel (native/model/testing_model.h), written field by field: for tests.
#pragma once

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "native/base/testing.h"
#include "native/model/testing_model.h"
#include "native/runtime/load_message.h"
#include "native/runtime/measure.h"

namespace hypura::runtime {

struct LoadParameters {
  bool resident = true;     // every band pinned, every expert in the pool
  uint32_t ring_slots = 2;  // of the largest band, when not resident
  uint32_t pool_slots = 2;  // when not resident
  uint32_t row_slots = 2;
  uint32_t n_ctx = 512;
  uint32_t n_sequences = 2;
  uint32_t batch_positions = 32;
  uint32_t logits_rows = 8;
  uint32_t threads = 2;  // that scratch is measured for
  model::KvTypes kv_types{};
};

// The model's bytes in a temporary file, removed with this object.
class TemporaryModelFile {
 public:
  explicit TemporaryModelFile(const std::vector<std::byte>& bytes) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/hypura-runtime-test-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    if (fd >= 0) ::close(fd);
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) testing::fail(__FILE__, __LINE__, "the temporary model file could not be written");
  }
  ~TemporaryModelFile() { ::unlink(path_.c_str()); }
  TemporaryModelFile(const TemporaryModelFile&) = delete;
  TemporaryModelFile& operator=(const TemporaryModelFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class LoadWriter {
 public:
  LoadWriter(const model::TinyModel& model, const LoadParameters& parameters,
             const std::string& path)
      : model_(model), parameters_(parameters), path_(path) {}

  // Copies of the file at `path`, each on a drive of its own.
  LoadWriter& mirrors(std::vector<std::string> paths, bool verified) {
    mirrors_ = std::move(paths);
    verified_ = verified;
    return *this;
  }

  std::vector<std::byte> write() {
    header_.magic = kLoadMagic;
    header_.format = kLoadFormat;
    header_.abi_version = kAbiVersion;
    header_.n_files = header_.n_models = 1;
    header_.n_copies = header_.n_drives = 1 + count(mirrors_);
    header_.first_head_band = index_of(model_.first_head_band);
    message_.resize(sizeof(LoadHeader));

    std::vector<scheduler::Block> blocks = model_.blocks;
    for (scheduler::Block& block : blocks)
      if (block.kind == scheduler::BlockKind::kExpert) block.tensor = 0xffffffffu;
    std::string paths = path_;
    std::vector<LoadFile> files = {file_record(path_, 0)};
    for (const std::string& mirror : mirrors_) {
      files.push_back(file_record(mirror, static_cast<uint32_t>(paths.size())));
      files.back().drive = count(files) - 1;
      files.back().verified = verified_;
      paths += mirror;
    }
    const std::vector<LoadDrive> drives(files.size(), LoadDrive{0});
    const LoadBudget budget = budget_record();
    header_.files_offset = put(files.data(), count(files));
    header_.drives_offset = put(drives.data(), count(drives));
    header_.specs_offset = put(&model_.spec(), 1);
    header_.tensors_offset = put(model_.tensors.data(), header_.n_tensors = count(model_.tensors));
    header_.blocks_offset = put(blocks.data(), header_.n_blocks = count(blocks));
    header_.extents_offset = put(model_.extents.data(), header_.n_extents = count(model_.extents));
    header_.pin_order_offset =
        put(model_.pin_order.data(), header_.n_pin_order = count(model_.pin_order));
    header_.inv_freq_offset =
        put(model_.inv_freq.data(), header_.n_inv_freq = count(model_.inv_freq));
    header_.budget_offset = put(&budget, 1);
    header_.strings_offset = put(paths.data(), static_cast<uint32_t>(paths.size()));
    header_.strings_bytes = paths.size();
    std::memcpy(message_.data(), &header_, sizeof(header_));
    return message_;
  }

 private:
  template <typename T>
  static uint32_t count(const std::vector<T>& items) {
    return static_cast<uint32_t>(items.size());
  }
  template <typename T>
  uint64_t put(const T* records, uint32_t n) {
    message_.resize(align_up(message_.size(), 8));
    const uint64_t offset = message_.size();
    message_.resize(offset + n * sizeof(T));
    if (n > 0) std::memcpy(message_.data() + offset, records, n * sizeof(T));
    return offset;
  }

  LoadFile file_record(const std::string& path, uint32_t path_offset) const {
    struct stat facts {};
    const bool exists = ::stat(path.c_str(), &facts) == 0;
    return {.size_bytes = model_.file.size(),
            .mtime_ns = exists ? facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec : 0,
            .inode = facts.st_ino,
            .device = facts.st_dev,
            .path_offset = path_offset,
            .path_bytes = static_cast<uint32_t>(path.size()),
            .drive = 0,
            .verified = 1};
  }

  uint64_t hull_bytes(const scheduler::Block& block) const {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < block.n_extents; ++i) {
      const scheduler::Extent& extent = model_.extents[block.first_extent + i];
      sum += align_up(extent.offset_bytes + extent.size_bytes, 4096) -
             align_down(extent.offset_bytes, 4096);
    }
    return sum;
  }

  LoadBudget budget_record() const {
    using scheduler::BlockKind;
    LoadBudget budget{};
    uint64_t largest_band = 0;
    uint32_t n_experts = 0;
    for (const scheduler::Block& block : model_.blocks) {
      const uint64_t bytes = hull_bytes(block);
      switch (block.kind) {
        case BlockKind::kTrunk: budget.trunk_bytes += bytes; break;
        case BlockKind::kBand: largest_band = std::max(largest_band, bytes); break;
        case BlockKind::kRowBand:
          budget.row_slot_bytes = std::max(budget.row_slot_bytes, bytes);
          break;
        case BlockKind::kExpert:
          ++n_experts;
          budget.pool_slot_bytes = std::max(budget.pool_slot_bytes, bytes);
          break;
      }
    }
    const auto n_bands = static_cast<uint32_t>(model_.pin_order.size());
    budget.pin_count = parameters_.resident ? n_bands : n_bands / 4;
    for (uint32_t i = 0; i < budget.pin_count; ++i)
      budget.pinned_bytes += hull_bytes(model_.blocks[index_of(model_.pin_order[i])]);
    budget.ring_bytes = parameters_.resident ? 0 : parameters_.ring_slots * largest_band;
    budget.pool_slots = n_experts == 0         ? 0
                        : parameters_.resident ? n_experts
                                               : parameters_.pool_slots;
    budget.row_slots = parameters_.row_slots;
    budget.n_ctx = parameters_.n_ctx;
    budget.n_sequences = parameters_.n_sequences;
    budget.batch_positions = parameters_.batch_positions;
    budget.logits_rows = parameters_.logits_rows;
    budget.k_type = parameters_.kv_types.k;
    budget.v_type = parameters_.kv_types.v;
    const Result<MemoryMeasure> measured =
        measure(model_.spec(), {.batch_positions = budget.batch_positions,
                                .logits_rows = budget.logits_rows,
                                .threads = parameters_.threads,
                                .n_ctx = budget.n_ctx,
                                .n_sequences = budget.n_sequences,
                                .kv_types = parameters_.kv_types});
    if (measured.ok()) {
      budget.kv_bytes = measured.value().kv_bytes;
      budget.scratch_bytes = measured.value().scratch_bytes;
    }
    // Weights are whole pages already.
    budget.budget_bytes = budget.trunk_bytes + budget.pinned_bytes + budget.ring_bytes +
                          budget.pool_slot_bytes * budget.pool_slots +
                          budget.row_slot_bytes * budget.row_slots +
                          align_up(budget.kv_bytes, 4096) + align_up(budget.scratch_bytes, 4096);
    return budget;
  }

  const model::TinyModel& model_;
  const LoadParameters parameters_;
  const std::string path_;
  std::vector<std::string> mirrors_;
  bool verified_ = false;
  LoadHeader header_{};
  std::vector<std::byte> message_;
};

inline model::TinyModel tiny_dense() {
  model::TinyShape shape;
  shape.spec = model::tiny_spec();
  shape.type = [](model::TensorRole role, uint32_t) {
    return role == model::TensorRole::kFfnDown ? kernels::QuantType::kQ4_K
                                               : kernels::QuantType::kQ8_0;
  };
  return model::TinyModel(std::move(shape), 1);
}

inline model::TinyModel tiny_mixture(bool fused = false) {
  model::TinyShape shape;
  shape.spec = model::tiny_mixture_spec();
  shape.spec.n_ff_shared = 256;
  shape.fused_gate_up = fused;
  shape.optional = {model::TensorRole::kSharedRouter};
  shape.type = [](model::TensorRole role, uint32_t) {
    return role == model::TensorRole::kRouter || role == model::TensorRole::kSharedRouter
               ? kernels::QuantType::kF32
               : kernels::QuantType::kQ8_0;
  };
  return model::TinyModel(std::move(shape), 2);
}

}  // namespace hypura::runtime
