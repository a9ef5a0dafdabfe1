#include "native/scheduler/followers.h"

#include <algorithm>
#include <map>

#include "native/scheduler/block_table.h"

namespace hypura::scheduler {
namespace {

uint32_t largest_layer(const BlockTable& table) {
  std::map<uint16_t, uint32_t> experts;
  uint32_t most = 0;
  for (uint32_t i = 0; i < table.size(); ++i) {
    const Block& block = table[BlockId{i}];
    if (block.kind == BlockKind::kExpert) most = std::max(most, ++experts[block.layer]);
  }
  return most;
}

}  // namespace

Followers::Followers(const BlockTable& table)
    : asked_in_(table.size(), 0), sums_(largest_layer(table), 0) {
  for (auto& blocks : recent_) blocks.reserve(sums_.size());
}

void Followers::begin_sweep(const Plan& plan, bool prefill, bool continues) {
  plan_ = &plan;
  prefill_ = prefill;
  continues_ = continues;
  ++sweep_;
  layers_asked_ = 0;
}

void Followers::asked(std::span<const BlockId> blocks) {
  if (prefill_ || !is_source() || plan_->guess_mode == GuessMode::kOff) return;
  auto& recent = recent_[layers_asked_++ % kFollowLayersMax];
  const auto some = blocks.first(std::min<size_t>(blocks.size(), recent.capacity()));
  recent.assign(some.begin(), some.end());
  for (const BlockId block : blocks) asked_in_[index_of(block)] = sweep_;
}

std::span<const BlockId> Followers::likeliest(BlockId first, uint32_t count, uint32_t most) {
  const FollowTable& table = plan_->followers;
  open_ = std::span(sums_).first(std::min<size_t>(count, sums_.size()));
  const auto block_of = [&](size_t i) { return BlockId{index_of(first) + static_cast<uint32_t>(i)}; };
  for (size_t i = 0; i < open_.size(); ++i) open_[i] = table.base_of(block_of(i));
  for (size_t r = 0; r < table.relations.size(); ++r) {
    const FollowRelation& relation = table.relations[r];
    if (relation.of == FollowOf::kToken) {
      for (size_t i = 0; continues_ && i < open_.size(); ++i)
        if (asked_in_[index_of(block_of(i))] == sweep_ - 1) add(table.row(r, block_of(i)));
    } else if (relation.distance <= layers_asked_) {
      for (const BlockId block : recent_[(layers_asked_ - relation.distance) % kFollowLayersMax])
        add(table.row(r, block));
    }
  }
  uint32_t n = 0;
  for (; n < std::min(most, kGuessesMax); ++n) {
    const auto best = std::max_element(open_.begin(), open_.end());  // the first of equals
    if (best == open_.end() || *best == 0) break;
    named_[n] = block_of(static_cast<size_t>(best - open_.begin()));
    *best = 0;
  }
  return std::span(named_).first(n);
}

void Followers::add(std::span<const Follower> row) {
  for (const Follower& follower : row)
    if (follower.expert < open_.size()) open_[follower.expert] += follower.weight;
}

}  // namespace hypura::scheduler
