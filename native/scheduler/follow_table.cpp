#include "native/scheduler/follow_table.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "native/base/limits.h"
#include "native/scheduler/block_table.h"
#include "native/scheduler/plan_sections.h"

namespace hypura::scheduler {
namespace {

Status check_counts(const PlanHeader& header) {
  if (header.n_relations > kFollowRelationsMax)
    return bad_plan(offsetof(PlanHeader, n_relations),
                    "the plan's table has " + std::to_string(header.n_relations) +
                        " relations, at most " + std::to_string(kFollowRelationsMax) + " are read");
  if (header.n_followers > kFollowersMax)
    return bad_plan(offsetof(PlanHeader, n_followers),
                    "the plan's table has " + std::to_string(header.n_followers) +
                        " followers per row, at most " + std::to_string(kFollowersMax) +
                        " are read");
  return {};
}

Status check_rows(const PlanHeader& header, const BlockTable& table) {
  if (uint64_t{header.first_row} + header.n_rows > table.size())
    return bad_plan(offsetof(PlanHeader, n_rows),
                    "the plan's table has " + std::to_string(header.n_rows) + " rows from block " +
                        std::to_string(header.first_row) + " on, the model has " +
                        std::to_string(table.size()) + " blocks");
  for (uint32_t i = 0; i < header.n_rows; ++i)
    if (table[BlockId{header.first_row + i}].kind != BlockKind::kExpert)
      return bad_plan(offsetof(PlanHeader, first_row),
                      "row " + std::to_string(i) + " of the plan's table is of block " +
                          std::to_string(header.first_row + i) + ", which is not an expert");
  return {};
}

// Of the layer that has most.
uint32_t experts_per_layer(const BlockTable& table) {
  uint32_t experts = 0;
  for (uint32_t i = 0; i < table.size(); ++i)
    if (table[BlockId{i}].kind == BlockKind::kExpert)
      experts = std::max(experts, table[BlockId{i}].expert + 1u);
  return experts;
}

Status check_relation(FollowRelation relation, uint64_t offset_bytes) {
  if (relation.of > FollowOf::kToken)
    return bad_plan(offset_bytes, "unknown relation " +
                                      std::to_string(static_cast<uint32_t>(relation.of)) +
                                      " of the plan's table");
  const uint32_t most = relation.of == FollowOf::kToken ? 1 : kFollowLayersMax;
  if (relation.distance == 0 || relation.distance > most)
    return bad_plan(offset_bytes + offsetof(FollowRelation, distance),
                    "the plan's table looks back by " + std::to_string(relation.distance) +
                        ", it may be 1 to " + std::to_string(most));
  return {};
}

}  // namespace

Result<FollowTable> decode_follow_table(const MessageReader& message, const PlanHeader& header,
                                        const BlockTable& blocks) {
  HYPURA_TRY(check_counts(header));
  HYPURA_TRY(check_rows(header, blocks));
  HYPURA_TRY_ASSIGN(const auto relations,
                    section_of(message, offsetof(PlanHeader, relation_offset),
                               header.relation_offset, header.n_relations, sizeof(FollowRelation),
                               "relation"));
  HYPURA_TRY_ASSIGN(const auto base,
                    section_of(message, offsetof(PlanHeader, base_offset), header.base_offset,
                               header.n_rows, sizeof(uint16_t), "base"));
  // At most 8 * 2^24 * 32: no overflow.
  const uint64_t n_followers = uint64_t{header.n_relations} * header.n_rows * header.n_followers;
  HYPURA_TRY_ASSIGN(const auto followers,
                    section_of(message, offsetof(PlanHeader, follower_offset),
                               header.follower_offset, n_followers, sizeof(Follower), "follower"));

  FollowTable table;
  table.first_row = BlockId{header.first_row};
  table.n_rows = header.n_rows;
  table.n_followers = header.n_followers;
  table.relations.reserve(header.n_relations);
  for (uint64_t i = 0; i < header.n_relations; ++i) {
    const auto relation = record_at<FollowRelation>(relations, i);
    HYPURA_TRY(check_relation(relation, header.relation_offset + i * sizeof(FollowRelation)));
    table.relations.push_back(relation);
  }
  table.base.resize(header.n_rows);
  if (header.n_rows > 0) std::memcpy(table.base.data(), base.data(), base.size());
  table.followers.resize(n_followers);
  const uint32_t n_expert = n_followers == 0 ? 0 : experts_per_layer(blocks);
  for (uint64_t i = 0; i < n_followers; ++i) {
    const auto follower = record_at<Follower>(followers, i);
    if (follower.expert >= n_expert && follower.expert != kNobody)
      return bad_plan(header.follower_offset + i * sizeof(Follower),
                      "an expert " + std::to_string(follower.expert) +
                          " follows in the plan's table, a layer has " + std::to_string(n_expert));
    table.followers[i] = follower;
  }
  return table;
}

}  // namespace hypura::scheduler
