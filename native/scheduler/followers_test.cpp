// What could break: a sum that is not the table's, a relation that looks at another layer or at another token, an answer that depends on
// more than plan and history, a table that names memory which is not there.
// How we notice: a second implementation with maps over whole histories, on random tables and random sweeps of several sequences.
#include "native/scheduler/followers.h"

#include <algorithm>
#include <map>
#include <random>

#include "native/base/hot_path_guard.h"
#include "native/base/testing.h"
#include "native/scheduler/block_table.h"

namespace hypura::scheduler {
namespace {

constexpr uint32_t kFirstExpert = 5;  // behind other blocks
constexpr uint32_t kLayers = 7;
constexpr uint32_t kExperts = 9;

BlockTable experts_in_layers() {
  std::vector<Block> blocks(kFirstExpert);
  for (uint32_t layer = 0; layer < kLayers; ++layer)
    for (uint32_t expert = 0; expert < kExperts; ++expert)
      blocks.push_back({.tensor = 0,
                        .layer = static_cast<uint16_t>(2 * layer),
                        .expert = static_cast<uint16_t>(expert),
                        .kind = BlockKind::kExpert,
                        .n_extents = 0,
                        .reserved = 0,
                        .first_extent = 0,
                        .row_begin = 0,
                        .row_count = 0});
  return {std::move(blocks), {}, {}, kNoBlock};
}

BlockId block_of(uint32_t layer, uint32_t expert) {
  return BlockId{kFirstExpert + layer * kExperts + expert};
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint32_t below(uint64_t limit) { return static_cast<uint32_t>(engine_() % limit); }
  std::vector<BlockId> choice(uint32_t layer) {
    std::vector<BlockId> blocks;
    for (uint32_t expert = 0; expert < kExperts; ++expert)
      if (below(3) == 0) blocks.push_back(block_of(layer, expert));
    return blocks;
  }
  // What decode_plan accepts, rows that are not all there and weights that tie among it.
  FollowTable table() {
    FollowTable table;
    table.first_row = BlockId{kFirstExpert + below(3)};
    table.n_rows = below(kLayers * kExperts - 2);
    table.n_followers = below(6);
    for (uint32_t i = below(kFollowRelationsMax + 1); i > 0; --i)
      table.relations.push_back(below(3) == 0
                                    ? FollowRelation{FollowOf::kToken, 1}
                                    : FollowRelation{FollowOf::kLayer,
                                                     static_cast<uint16_t>(1 + below(kFollowLayersMax))});
    const auto weight = [&] { return static_cast<uint16_t>(below(8) ? below(5) : 0xffff - below(2)); };
    for (uint32_t i = 0; i < table.n_rows; ++i) table.base.push_back(weight());
    for (uint64_t i = table.relations.size() * table.n_rows * table.n_followers; i > 0; --i)
      table.followers.push_back(
          {below(5) == 0 ? kNobody : static_cast<uint16_t>(below(kExperts)), weight()});
    return table;
  }

 private:
  std::mt19937_64 engine_;
};

using Choices = std::map<uint32_t, std::vector<BlockId>>;  // by layer

std::vector<BlockId> expected(const FollowTable& table, const Choices& token, const Choices& before,
                              uint32_t layer, uint32_t most) {
  std::vector<std::pair<uint64_t, BlockId>> sums;
  for (uint32_t expert = 0; expert < kExperts; ++expert) {
    const BlockId candidate = block_of(layer, expert);
    uint64_t sum = 0;
    const auto row_of = [&](BlockId block) {
      return static_cast<int64_t>(index_of(block)) - index_of(table.first_row);
    };
    if (row_of(candidate) >= 0 && row_of(candidate) < table.n_rows)
      sum += table.base[static_cast<size_t>(row_of(candidate))];
    for (size_t r = 0; r < table.relations.size(); ++r) {
      const auto [of, distance] = table.relations[r];
      const Choices& where = of == FollowOf::kToken ? before : token;
      const uint32_t at = of == FollowOf::kToken ? layer : layer - distance;
      if (of == FollowOf::kLayer && distance > layer) continue;
      if (!where.contains(at)) continue;
      for (const BlockId chosen : where.at(at)) {
        if (row_of(chosen) < 0 || row_of(chosen) >= table.n_rows) continue;
        for (uint32_t place = 0; place < table.n_followers; ++place) {
          const size_t row = r * table.n_rows + static_cast<size_t>(row_of(chosen));
          const Follower& follower = table.followers[row * table.n_followers + place];
          if (follower.expert == expert) sum += follower.weight;
        }
      }
    }
    if (sum > 0) sums.emplace_back(sum, candidate);
  }
  std::stable_sort(sums.begin(), sums.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<BlockId> best;
  for (size_t i = 0; i < std::min<size_t>(most, sums.size()); ++i) best.push_back(sums[i].second);
  return best;
}

TEST(the_likeliest_are_those_with_the_highest_sums) {
  const BlockTable blocks = experts_in_layers();
  uint32_t named = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    Followers followers(blocks);
    Plan plans[2];
    Choices before;
    bool before_is_known = false;
    for (uint32_t sweep = 0; sweep < 12; ++sweep) {
      Plan& plan = plans[sweep % 2];
      if (sweep < 2 || random.below(3) == 0) {
        plan.followers = random.table();
        plan.guess_mode = GuessMode::kShadow;
        plan.guess_source = GuessSource::kTable;
      }
      const bool prefill = random.below(5) == 0;
      const bool continues = random.below(4) > 0;
      followers.begin_sweep(plan, prefill, continues);
      Choices token;
      const uint32_t end = random.below(6) == 0 ? random.below(kLayers) : kLayers;  // some fail half-way
      for (uint32_t layer = 0; layer < end; ++layer) {
        const std::vector<BlockId> chosen = random.choice(layer);
        std::vector<BlockId> found;
        const uint32_t most = random.below(kExperts + 3);
        {
          const HotPathGuard guard;
          followers.asked(chosen);
        }
        token[layer] = chosen;
        if (prefill || layer + 1 == kLayers) continue;
        std::span<const BlockId> likeliest;
        {
          const HotPathGuard guard;
          likeliest = followers.likeliest(block_of(layer + 1, 0), kExperts, most);
        }
        found.assign(likeliest.begin(), likeliest.end());
        EXPECT(found == expected(plan.followers, token,
                                 continues && before_is_known ? before : Choices{}, layer + 1, most));
        named += static_cast<uint32_t>(found.size());
      }
      before = token;
      before_is_known = !prefill;
    }
  }
  EXPECT(named > 20'000);
}

TEST(a_plan_that_guesses_nothing_leaves_no_history) {
  const BlockTable blocks = experts_in_layers();
  Random random(1);
  Followers followers(blocks);
  Plan off, on;
  on.guess_mode = GuessMode::kPrefetch;
  on.guess_source = GuessSource::kTable;
  on.followers = {.first_row = block_of(0, 0),
                  .n_rows = kLayers * kExperts,
                  .n_followers = 1,
                  .relations = {{FollowOf::kToken, 1}},
                  .base = std::vector<uint16_t>(kLayers * kExperts, 0),
                  .followers = std::vector<Follower>(kLayers * kExperts, Follower{3, 7})};
  EXPECT(!followers.is_source());
  followers.begin_sweep(off, false, false);
  EXPECT(!followers.is_source());
  for (uint32_t layer = 0; layer < kLayers; ++layer) followers.asked(std::vector{block_of(layer, 1)});
  followers.begin_sweep(on, false, true);
  EXPECT(followers.is_source());
  followers.asked(std::vector{block_of(0, 1)});
  EXPECT(followers.likeliest(block_of(1, 0), kExperts, 4).empty());
  followers.begin_sweep(on, false, true);
  EXPECT(followers.likeliest(block_of(0, 0), kExperts, 4).size() == 1);
}

}  // namespace
}  // namespace hypura::scheduler
