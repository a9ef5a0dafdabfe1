// Which experts follow which, as the plan says it: what a predictor learnt of routing, as integers to be added.
//
// A predictor joins log odds: those of an expert whatever came before (`base`), and more for each expert before it that it often
// follows (`followers`). The plan carries both in fixed point, so that the token loop adds integers and names the highest sums, which
// is the predictor's own order without a logarithm (followers.h). Made by ts/prefetch/follow-table.ts.
// Immutable; any thread.   Allocates: while it is decoded.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "native/base/bytes.h"
#include "native/base/ids.h"
#include "native/base/status.h"

namespace hypura::scheduler {

class BlockTable;
struct PlanHeader;

// What a row's expert was chosen by. Crosses the border as a number: append only.
enum class FollowOf : uint16_t {
  kLayer = 0,  // the same token, `distance` mixture layers before
  kToken = 1,  // the same layer, `distance` tokens before
};

// Both are records of the Plan message.
struct FollowRelation {
  FollowOf of;
  uint16_t distance;  // 1 .. kFollowLayersMax; of a token: 1
};
static_assert(sizeof(FollowRelation) == 4);

struct Follower {
  uint16_t expert;  // of the layer that follows; kNobody: an empty place
  uint16_t weight;
};
static_assert(sizeof(Follower) == 4);
inline constexpr uint16_t kNobody = 0xffff;

struct FollowTable {
  BlockId first_row{};  // row i is of block first_row + i, an expert
  uint32_t n_rows = 0;
  uint32_t n_followers = 0;               // places of a row
  std::vector<FollowRelation> relations;
  std::vector<uint16_t> base;             // by row
  std::vector<Follower> followers;        // [relation][row][place]

  bool has(BlockId block) const {
    return block >= first_row && index_of(block) - index_of(first_row) < n_rows;
  }
  uint32_t base_of(BlockId block) const {
    return has(block) ? base[index_of(block) - index_of(first_row)] : 0;
  }
  // Empty for a block that has no row.
  std::span<const Follower> row(uint64_t relation, BlockId block) const {
    if (!has(block)) return {};
    const uint64_t row = relation * n_rows + index_of(block) - index_of(first_row);
    return std::span(followers).subspan(row * n_followers, n_followers);
  }
};

// The table of a plan whose header is that of `message`. Error: kBadPlan with the offset.
Result<FollowTable> decode_follow_table(const MessageReader& message, const PlanHeader& header,
                                        const BlockTable& table);

}  // namespace hypura::scheduler
