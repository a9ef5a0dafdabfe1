// check_budget(): every region holds what the tables need, and all of them together stay inside the budget.
#include <algorithm>
#include <optional>
#include <tuple>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/kernels/kv_rows.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/text.h"
#include "native/scheduler/hull.h"

namespace hypura::runtime {
namespace {

using scheduler::Block, scheduler::BlockKind;

// Bytes of the slots that blocks need, with extents widened to direct-I/O alignment. Extents were checked: no sum wraps.
struct Needs {
  uint64_t trunk = 0;
  uint64_t pinned = 0;
  uint64_t largest_streamed_band = 0;
  uint64_t largest_expert = 0;
  uint64_t largest_row_band = 0;
};

uint64_t slot_bytes(const LoadRecords& records, const Block& block) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < block.n_extents; ++i)
    sum += scheduler::hull_of(records.extents[block.first_extent + i], kDirectAlignmentBytes).bytes;
  return sum;
}

Needs needs_of(const LoadRecords& records) {
  std::vector<bool> pinned(records.blocks.size(), false);
  for (uint32_t i = 0; i < records.budget.pin_count; ++i) pinned[records.pin_order[i]] = true;
  Needs needs;
  for (uint32_t id = 0; id < records.blocks.size(); ++id) {
    const Block& block = records.blocks[id];
    const uint64_t bytes = slot_bytes(records, block);
    switch (block.kind) {
      case BlockKind::kTrunk: needs.trunk += bytes; break;
      case BlockKind::kBand:
        if (pinned[id])
          needs.pinned += bytes;
        else
          needs.largest_streamed_band = std::max(needs.largest_streamed_band, bytes);
        break;
      case BlockKind::kRowBand:
        needs.largest_row_band = std::max(needs.largest_row_band, bytes);
        break;
      case BlockKind::kExpert: needs.largest_expert = std::max(needs.largest_expert, bytes); break;
    }
  }
  return needs;
}

class BudgetCheck {
 public:
  explicit BudgetCheck(uint64_t budget_offset) : budget_offset_(budget_offset) {}

  void range(const char* name, size_t field, uint64_t found, uint64_t least, uint64_t most) {
    if (found < least || found > most)
      fail(field, text(name, " is ", found, ", allowed are ", least, " to ", most));
  }
  void holds(const char* name, size_t field, uint64_t found, uint64_t needed) {
    if (found < needed) fail(field, text(name, " is ", found, ", the blocks need ", needed));
  }
  void multiple(const char* name, size_t field, uint64_t found, uint64_t of) {
    if (found % of != 0) fail(field, text(name, " is ", found, ", which is no multiple of ", of));
  }
  void fail(size_t field, std::string sentence) {
    if (status_.ok())
      status_ = bad_load(budget_offset_ + field, "memory budget: " + std::move(sentence));
  }
  Status status() const { return status_; }

 private:
  uint64_t budget_offset_;
  Status status_;  // the first one
};

#define FIELD(name) \
#name, offsetof(LoadBudget, name), uint64_t { budget.name }

void check_kv_type(const char* name, size_t field, kernels::KvType type, uint32_t head_dim,
                   BudgetCheck& check) {
  constexpr auto kLast = static_cast<uint32_t>(kernels::KvType::kQ8_0);
  check.range(name, field, static_cast<uint32_t>(type), 0, kLast);
  if (static_cast<uint32_t>(type) <= kLast && head_dim % kernels::kv_block(type) != 0)
    check.fail(field, text(name, ": heads of ", head_dim, " elements are no multiple of ",
                           kernels::kv_block(type)));
}

void check_counts(const LoadRecords& records, BudgetCheck& check) {
  const LoadBudget& budget = records.budget;
  check.range(FIELD(pin_count), 0, records.pin_order.size());
  check.range(FIELD(n_ctx), kPositionsPerPage, kContextMax);
  check.multiple(FIELD(n_ctx), kPositionsPerPage);
  check.range(FIELD(n_sequences), 1, kSequencesMax);
  check.range(FIELD(batch_positions), 1, kBatchPositionsMax);
  check.range(FIELD(logits_rows), 1, kBatchPositionsMax);
  const auto placement = static_cast<uint32_t>(budget.placement);
  check.range("placement", offsetof(LoadBudget, placement), placement, 0,
              static_cast<uint32_t>(WeightPlacement::kCopied));
  check_kv_type("k_type", offsetof(LoadBudget, k_type), budget.k_type, records.spec.head_dim_k, check);
  check_kv_type("v_type", offsetof(LoadBudget, v_type), budget.v_type, records.spec.head_dim_v, check);
}

// Weights outside of a cache: no region but, for a copy, the files themselves.
void check_images(const LoadRecords& records, BudgetCheck& check) {
  const LoadBudget& budget = records.budget;
  uint64_t copied = 0;
  if (budget.placement == WeightPlacement::kCopied)
    for (const LoadFile& file : records.files) {
      const auto next = checked_add(copied, file.size_bytes);
      if (!next || !checked_add(*next, kDirectAlignmentBytes))
        return check.fail(offsetof(LoadBudget, pinned_bytes), "the files do not fit in 64 bits");
      copied = align_up(*next, kDirectAlignmentBytes);
    }
  check.range(FIELD(pinned_bytes), copied, copied);
  for (const auto& [name, field, found] :
       {std::tuple{FIELD(trunk_bytes)}, std::tuple{FIELD(ring_bytes)},
        std::tuple{FIELD(pool_slot_bytes)}, std::tuple{FIELD(row_slot_bytes)},
        std::tuple{FIELD(pool_slots)}, std::tuple{FIELD(row_slots)}, std::tuple{FIELD(pin_count)}})
    check.range(name, field, found, 0, 0);
}

void check_regions(const LoadRecords& records, BudgetCheck& check) {
  const LoadBudget& budget = records.budget;
  if (budget.placement != WeightPlacement::kCache) return check_images(records, check);
  const Needs needs = needs_of(records);
  check.holds(FIELD(trunk_bytes), needs.trunk);
  check.holds(FIELD(pinned_bytes), needs.pinned);
  check.holds(FIELD(ring_bytes), needs.largest_streamed_band);
  check.multiple(FIELD(ring_bytes), kDirectAlignmentBytes);
  check.holds(FIELD(pool_slot_bytes), needs.largest_expert);
  check.multiple(FIELD(pool_slot_bytes), kDirectAlignmentBytes);
  const bool mixture = needs.largest_expert > 0;
  check.range(FIELD(pool_slots), mixture ? 2 : 0, mixture ? kBlocksMax : 0);
  check.holds(FIELD(row_slot_bytes), needs.largest_row_band);
  check.multiple(FIELD(row_slot_bytes), kDirectAlignmentBytes);
  check.range(FIELD(row_slots), 1, kBlocksMax);
}

#undef FIELD

void check_sum(const LoadBudget& budget, BudgetCheck& check) {
  const std::optional<uint64_t> sum = placed_bytes(budget);
  if (!sum)
    check.fail(offsetof(LoadBudget, budget_bytes), "the sum of the regions does not fit in 64 bits");
  else if (*sum > budget.budget_bytes)
    check.fail(offsetof(LoadBudget, budget_bytes),
               text("the regions have ", *sum, " bytes together, the budget is ",
                    budget.budget_bytes));
}

}  // namespace

std::optional<uint64_t> placed_bytes(const LoadBudget& budget) {
  uint64_t sum = 0;
  for (const std::optional<uint64_t> part :
       {std::optional(budget.trunk_bytes), std::optional(budget.pinned_bytes),
        std::optional(budget.ring_bytes), checked_mul(budget.pool_slot_bytes, budget.pool_slots),
        checked_mul(budget.row_slot_bytes, budget.row_slots), std::optional(budget.kv_bytes),
        std::optional(budget.scratch_bytes)}) {
    if (!part || !checked_add(*part, kDirectAlignmentBytes)) return std::nullopt;
    const auto next = checked_add(sum, align_up(*part, kDirectAlignmentBytes));
    if (!next) return std::nullopt;
    sum = *next;
  }
  return sum;
}

Status check_budget(const LoadRecords& records) {
  BudgetCheck check(records.header.budget_offset);
  check_counts(records, check);
  HYPURA_TRY(check.status());
  check_regions(records, check);
  check_sum(records.budget, check);
  return check.status();
}

}  // namespace hypura::runtime
