// What could break: a plan from the other side of the border that names memory it does not own, or a number that is none.
// Every prefix and every single-bit flip of a valid message must be refused with a place, or accepted with all promises of
// plan.h kept; sanitizers watch the rest.
#include "native/scheduler/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "native/base/testing.h"
#include "native/scheduler/plan_mailbox.h"
#include "native/scheduler/test_model.h"

namespace hypura::scheduler {
namespace {

constexpr uint32_t kPinsMax = 12;
constexpr uint32_t kPoolSlots = 10;

struct Draft {
  PlanHeader header{};
  std::vector<float> score;
  std::vector<uint32_t> hold, warm;
  std::vector<FollowRelation> relations;
  std::vector<Follower> followers;
  std::vector<uint16_t> base;

  std::vector<std::byte> bytes() const {
    std::vector<std::byte> out(sizeof(PlanHeader) + 2 * base.size() +
                               4 * (score.size() + hold.size() + warm.size() + relations.size() +
                                    followers.size()));
    std::byte* at = out.data();
    const auto put = [&](const void* from, size_t bytes) {
      if (bytes > 0) std::memcpy(at, from, bytes);
      at += bytes;
    };
    put(&header, sizeof(header));
    put(score.data(), 4 * score.size());
    put(hold.data(), 4 * hold.size());
    put(warm.data(), 4 * warm.size());
    put(relations.data(), 4 * relations.size());
    put(followers.data(), 4 * followers.size());
    put(base.data(), 2 * base.size());
    return out;
  }
};

Draft valid_draft(const TestModel& model) {
  Draft draft;
  const auto n_blocks = static_cast<uint32_t>(model.blocks.size());
  for (uint32_t i = 0; i < n_blocks; ++i) draft.score.push_back(0.25f * static_cast<float>(i));
  for (uint32_t i = 0; i < 4; ++i) draft.hold.push_back(index_of(model.experts[2 * i]));
  for (uint32_t i = 0; i < 6; ++i) draft.warm.push_back(index_of(model.experts[7 - i]));
  // Four experts to a layer, so that the first eight are two whole ones.
  draft.relations = {{FollowOf::kLayer, 1}, {FollowOf::kToken, 1}, {FollowOf::kLayer, 4}};
  for (uint32_t i = 0; i < 8; ++i) draft.base.push_back(static_cast<uint16_t>(i));
  for (uint32_t i = 0; i < 3 * 8 * 2; ++i)
    draft.followers.push_back({static_cast<uint16_t>(i % 5 == 4 ? kNobody : i % 4),
                               static_cast<uint16_t>(7 * i)});
  const uint32_t relation_offset = sizeof(PlanHeader) + 4 * n_blocks + 40;
  draft.header = {.magic = kPlanMagic,
                  .format = kPlanFormat,
                  .sequence_number = 5,
                  .n_blocks = n_blocks,
                  .pin_count = 7,
                  .prefill_admission = 1,
                  .n_hold = 4,
                  .n_warm = 6,
                  .score_offset = sizeof(PlanHeader),
                  .hold_offset = sizeof(PlanHeader) + 4 * n_blocks,
                  .warm_offset = sizeof(PlanHeader) + 4 * n_blocks + 16,
                  .guess_mode = 0,
                  .guesses_max = 0,
                  .guess_source = 1,
                  .n_relations = 3,
                  .n_followers = 2,
                  .n_rows = 8,
                  .first_row = index_of(model.experts[0]),
                  .reserved = 0,
                  .relation_offset = relation_offset,
                  .base_offset = relation_offset + 12 + 3 * 8 * 2 * 4,
                  .follower_offset = relation_offset + 12};
  return draft;
}

TestModel model_of_test() { return make_test_model({.bands = 14, .experts = 12}, 3); }

TEST(plan_decodes_what_was_sent) {
  const TestModel model = model_of_test();
  const BlockTable table = model.table();
  const Draft draft = valid_draft(model);
  const auto plan = decode_plan(draft.bytes(), table, kPinsMax, kPoolSlots);
  EXPECT_OK(plan.status());
  ASSERT(plan.ok());
  const Plan& p = *plan.value();
  EXPECT_EQ(p.sequence_number, 5u);
  EXPECT_EQ(p.pin_count, 7u);
  EXPECT(p.prefill_admission == PrefillAdmission::kKeepHits);
  EXPECT(p.score == draft.score);
  EXPECT_EQ(std::count(p.hold.begin(), p.hold.end(), true), 4);
  for (uint32_t id : draft.hold) EXPECT(p.hold[id]);
  ASSERT(p.warm.size() == draft.warm.size());
  for (size_t i = 0; i < p.warm.size(); ++i) EXPECT_EQ(index_of(p.warm[i]), draft.warm[i]);
  EXPECT(p.guess_source == GuessSource::kTable);
  EXPECT_EQ(p.followers.relations.size(), 3u);
  for (uint32_t row = 0; row < 8; ++row) {
    EXPECT_EQ(p.followers.base_of(model.experts[row]), draft.base[row]);
    for (uint32_t r = 0; r < 3; ++r) {
      const std::span<const Follower> places = p.followers.row(r, model.experts[row]);
      ASSERT(places.size() == 2);
      for (uint32_t i = 0; i < 2; ++i) {
        EXPECT_EQ(places[i].expert, draft.followers[(r * 8 + row) * 2 + i].expert);
        EXPECT_EQ(places[i].weight, draft.followers[(r * 8 + row) * 2 + i].weight);
      }
    }
  }
  EXPECT(p.followers.row(0, model.experts[8]).empty());
  EXPECT(p.followers.row(2, model.bands[0]).empty());
  EXPECT_EQ(p.followers.base_of(model.experts[8]), 0u);
}

TEST(plan_prefixes_are_refused) {
  const TestModel model = model_of_test();
  const BlockTable table = model.table();
  const std::vector<std::byte> message = valid_draft(model).bytes();
  for (size_t n = 0; n < message.size(); ++n) {
    // A copy of exactly n bytes: a read past them is seen by the address sanitizer.
    const std::vector<std::byte> prefix(message.begin(), message.begin() + static_cast<long>(n));
    const auto plan = decode_plan(prefix, table, kPinsMax, kPoolSlots);
    EXPECT(!plan.ok());
    EXPECT(plan.status().code() == Code::kBadPlan);
    EXPECT(plan.status().detail()->offset_bytes.has_value());
  }
}

TEST(plan_bit_flips_are_refused_or_keep_every_promise) {
  const TestModel model = model_of_test();
  const BlockTable table = model.table();
  const std::vector<std::byte> message = valid_draft(model).bytes();
  uint32_t refused = 0;
  for (size_t bit = 0; bit < message.size() * 8; ++bit) {
    std::vector<std::byte> flipped = message;
    flipped[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    const auto plan = decode_plan(flipped, table, kPinsMax, kPoolSlots);
    if (!plan.ok()) {
      ++refused;
      EXPECT(plan.status().code() == Code::kBadPlan);
      EXPECT(plan.status().detail()->offset_bytes.value() <= message.size());
      continue;
    }
    const Plan& p = *plan.value();
    EXPECT(p.pin_count <= kPinsMax);
    EXPECT(p.score.size() == table.size());
    for (float score : p.score) EXPECT(std::isfinite(score) && score >= 0);
    EXPECT(std::count(p.hold.begin(), p.hold.end(), true) <= kPoolSlots / 2);
    for (size_t id = 0; id < p.hold.size(); ++id)
      if (p.hold[id]) EXPECT(table[BlockId{static_cast<uint32_t>(id)}].kind == BlockKind::kExpert);
    for (BlockId id : p.warm) EXPECT(index_of(id) < table.size());
    EXPECT(p.followers.relations.size() <= kFollowRelationsMax);
    EXPECT(p.followers.n_followers <= kFollowersMax);
    EXPECT_EQ(p.followers.base.size(), size_t{p.followers.n_rows});
    EXPECT_EQ(p.followers.followers.size(),
              p.followers.relations.size() * p.followers.n_rows * p.followers.n_followers);
    for (uint32_t i = 0; i < p.followers.n_rows; ++i)
      EXPECT(table[BlockId{index_of(p.followers.first_row) + i}].kind == BlockKind::kExpert);
    for (const FollowRelation& relation : p.followers.relations)
      EXPECT(relation.distance >= 1 &&
             relation.distance <= (relation.of == FollowOf::kToken ? 1 : kFollowLayersMax));
    for (const Follower& follower : p.followers.followers)
      EXPECT(follower.expert < 4 || follower.expert == kNobody);
  }
  EXPECT(refused > 300);
}

TEST(plan_refusals_name_the_place) {
  const TestModel model = model_of_test();
  const BlockTable table = model.table();
  const auto offset_of_refusal = [&](auto&& change) -> uint64_t {
    Draft draft = valid_draft(model);
    change(draft);
    const auto plan = decode_plan(draft.bytes(), table, kPinsMax, kPoolSlots);
    if (plan.ok() || plan.status().code() != Code::kBadPlan) return ~0ull;
    return plan.status().detail()->offset_bytes.value_or(~0ull);
  };
  constexpr uint64_t kHuge = ~0ull - 3;
  const uint64_t holds = valid_draft(model).header.hold_offset;
  const uint64_t warms = valid_draft(model).header.warm_offset;
  const uint64_t relations = valid_draft(model).header.relation_offset;
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.magic = 1; }), 0u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.format = 1; }), 4u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_blocks += 1; }), 12u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.pin_count = kPinsMax + 1; }), 16u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.prefill_admission = 3; }), 20u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_hold = 6; }), 24u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_warm = 0xffffffff; }), 28u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.score_offset = kHuge; }), 32u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.score_offset = 66; }), 32u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.score_offset = 60; }), 32u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.hold_offset = kHuge; }), 40u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.warm_offset = kHuge; }), 48u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.guess_mode = 4; }), 56u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.guesses_max = kGuessesMax + 1; }), 60u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.guess_source = 2; }), 64u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_relations = kFollowRelationsMax + 1; }), 68u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_followers = kFollowersMax + 1; }), 72u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_rows = 0xffffffff; }), 76u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.first_row = 0; }), 80u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.first_row = 0xffffffff; }), 76u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.relation_offset = kHuge; }), 88u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.base_offset = 4; }), 96u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.follower_offset += 40; }), 104u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.header.n_followers = 32; }), 104u);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.relations[1].of = static_cast<FollowOf>(2); }), relations + 4);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.relations[1].distance = 2; }), relations + 6);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.relations[0].distance = 0; }), relations + 2);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.relations[2].distance = kFollowLayersMax + 1; }), relations + 10);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.followers[3].expert = 4; }), relations + 12 + 3 * 4);
  constexpr uint64_t kScores = sizeof(PlanHeader);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.score[3] = std::nanf(""); }), kScores + 12);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.score[0] = -1.0f; }), kScores);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.score[1] = std::numeric_limits<float>::infinity(); }), kScores + 4);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { std::swap(d.hold[1], d.hold[2]); }), holds + 8);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.hold[1] = d.hold[0]; }), holds + 4);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.hold[0] = 0; }), holds);
  EXPECT_EQ(offset_of_refusal([](Draft& d) { d.warm[5] = 0xffffffff; }), warms + 20);
}

// What could break: a plan freed under the loop's feet, one lost, or one that goes back in time.
std::unique_ptr<const Plan> numbered_plan(uint32_t number) {
  auto plan = std::make_unique<Plan>();
  plan->sequence_number = number;
  plan->score.assign(16, static_cast<float>(number));
  return plan;
}

TEST(mailbox_gives_the_newest_and_refuses_older_ones) {
  PlanMailbox mailbox(numbered_plan(0));
  EXPECT_EQ(mailbox.take().sequence_number, 0u);
  EXPECT_OK(mailbox.submit(numbered_plan(2)));
  EXPECT_OK(mailbox.submit(numbered_plan(5)));
  EXPECT(mailbox.submit(numbered_plan(5)).code() == Code::kBadPlan);
  EXPECT(mailbox.submit(numbered_plan(4)).code() == Code::kBadPlan);
  EXPECT_EQ(mailbox.take().sequence_number, 5u);
  EXPECT_EQ(mailbox.take().sequence_number, 5u);
}

TEST(mailbox_keeps_a_taken_plan_alive_across_the_next_take) {
  constexpr uint32_t kPlans = 3000;
  PlanMailbox mailbox(numbered_plan(0));
  std::thread submitter([&] {
    for (uint32_t i = 1; i <= kPlans; ++i) EXPECT_OK(mailbox.submit(numbered_plan(i)));
  });
  const Plan* last = &mailbox.take();
  uint32_t number = 0;
  while (number < kPlans) {
    const Plan& plan = mailbox.take();
    if (last->score[7] > plan.score[7]) EXPECT_EQ(last->score[7], plan.score[7]);
    if (plan.sequence_number < number) EXPECT_EQ(plan.sequence_number, number);
    number = plan.sequence_number;
    last = &plan;
  }
  submitter.join();
}

}  // namespace
}  // namespace hypura::scheduler
