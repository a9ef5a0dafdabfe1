#include "native/scheduler/plan.h"

#include <cmath>
#include <cstddef>
#include <string>

#include "native/base/limits.h"
#include "native/scheduler/block_table.h"
#include "native/scheduler/plan_sections.h"

namespace hypura::scheduler {
namespace {

Status check_header(const PlanHeader& header, const BlockTable& table, uint32_t pin_count_max,
                    uint32_t pool_slots) {
  if (header.magic != kPlanMagic)
    return bad_plan(offsetof(PlanHeader, magic), "the message is not a plan");
  if (header.format != kPlanFormat)
    return bad_plan(offsetof(PlanHeader, format),
                    "the plan has format " + std::to_string(header.format) + ", this build reads " +
                        std::to_string(kPlanFormat));
  if (header.n_blocks != table.size())
    return bad_plan(offsetof(PlanHeader, n_blocks), "the plan is for " + std::to_string(header.n_blocks) +
                                                        " blocks, the model has " +
                                                        std::to_string(table.size()));
  if (header.pin_count > pin_count_max)
    return bad_plan(offsetof(PlanHeader, pin_count),
                    "the plan pins " + std::to_string(header.pin_count) + " bands, room was made for " +
                        std::to_string(pin_count_max));
  if (header.prefill_admission > static_cast<uint32_t>(PrefillAdmission::kBypass))
    return bad_plan(offsetof(PlanHeader, prefill_admission),
                    "unknown prefill admission " + std::to_string(header.prefill_admission));
  if (header.n_hold > pool_slots / 2)
    return bad_plan(offsetof(PlanHeader, n_hold), "the plan holds " + std::to_string(header.n_hold) +
                                                      " blocks, at most half of the pool's " +
                                                      std::to_string(pool_slots) + " slots may be held");
  if (header.n_warm > table.size())
    return bad_plan(offsetof(PlanHeader, n_warm), "the plan warms " + std::to_string(header.n_warm) +
                                                      " blocks of " + std::to_string(table.size()));
  if (header.guess_mode > static_cast<uint32_t>(GuessMode::kPrefetch))
    return bad_plan(offsetof(PlanHeader, guess_mode),
                    "unknown mode of guesses " + std::to_string(header.guess_mode));
  if (header.guesses_max > kGuessesMax)
    return bad_plan(offsetof(PlanHeader, guesses_max),
                    "the plan wants " + std::to_string(header.guesses_max) + " guesses per layer, at most " +
                        std::to_string(kGuessesMax) + " are made");
  if (header.guess_source > static_cast<uint32_t>(GuessSource::kTable))
    return bad_plan(offsetof(PlanHeader, guess_source),
                    "unknown source of guesses " + std::to_string(header.guess_source));
  return {};
}

// An id of the hold or warm section, checked to be an expert of this table.
Result<BlockId> expert_at(std::span<const std::byte> section, uint64_t section_offset, uint64_t i,
                          const BlockTable& table) {
  const auto number = record_at<uint32_t>(section, i);
  if (number >= table.size())
    return bad_plan(section_offset + i * 4, "block " + std::to_string(number) + " does not exist");
  if (table[BlockId{number}].kind != BlockKind::kExpert)
    return bad_plan(section_offset + i * 4, "block " + std::to_string(number) + " is not an expert");
  return BlockId{number};
}

}  // namespace

Result<std::unique_ptr<const Plan>> decode_plan(std::span<const std::byte> message,
                                                const BlockTable& table, uint32_t pin_count_max,
                                                uint32_t pool_slots) {
  const MessageReader reader(message);
  const auto header = reader.record<PlanHeader>(0);
  if (!header)
    return bad_plan(message.size(), "the plan is cut off in its header, " +
                                        std::to_string(message.size()) + " of " +
                                        std::to_string(sizeof(PlanHeader)) + " bytes");
  HYPURA_TRY(check_header(*header, table, pin_count_max, pool_slots));
  HYPURA_TRY_ASSIGN(const auto scores,
                    section_of(reader, offsetof(PlanHeader, score_offset), header->score_offset,
                               header->n_blocks, sizeof(float), "score"));
  HYPURA_TRY_ASSIGN(const auto holds, section_of(reader, offsetof(PlanHeader, hold_offset),
                                                 header->hold_offset, header->n_hold,
                                                 sizeof(uint32_t), "hold"));
  HYPURA_TRY_ASSIGN(const auto warms, section_of(reader, offsetof(PlanHeader, warm_offset),
                                                 header->warm_offset, header->n_warm,
                                                 sizeof(uint32_t), "warm"));

  auto plan = std::make_unique<Plan>();
  plan->sequence_number = header->sequence_number;
  plan->pin_count = header->pin_count;
  plan->prefill_admission = static_cast<PrefillAdmission>(header->prefill_admission);
  plan->guess_mode = static_cast<GuessMode>(header->guess_mode);
  plan->guesses_max = header->guesses_max;
  plan->guess_source = static_cast<GuessSource>(header->guess_source);
  plan->score.resize(header->n_blocks);
  for (uint64_t i = 0; i < header->n_blocks; ++i) {
    const auto score = record_at<float>(scores, i);
    if (!std::isfinite(score) || score < 0)
      return bad_plan(header->score_offset + i * 4, "the score of block " + std::to_string(i) +
                                                        " is not a finite number of at least 0");
    plan->score[i] = score;
  }
  if (header->n_hold > 0) plan->hold.resize(header->n_blocks, false);
  uint64_t above = 0;  // ids from here on are ascending
  for (uint64_t i = 0; i < header->n_hold; ++i) {
    HYPURA_TRY_ASSIGN(const BlockId id, expert_at(holds, header->hold_offset, i, table));
    if (index_of(id) < above)
      return bad_plan(header->hold_offset + i * 4, "the held blocks are not in ascending order");
    plan->hold[index_of(id)] = true;
    above = uint64_t{index_of(id)} + 1;
  }
  plan->warm.reserve(header->n_warm);
  for (uint64_t i = 0; i < header->n_warm; ++i) {
    HYPURA_TRY_ASSIGN(const BlockId id, expert_at(warms, header->warm_offset, i, table));
    plan->warm.push_back(id);
  }
  HYPURA_TRY_ASSIGN(plan->followers, decode_follow_table(reader, *header, table));
  return std::unique_ptr<const Plan>(std::move(plan));
}

}  // namespace hypura::scheduler
