// What could break: a flag of a model family is read wrongly, a row meets the wrong activations, or the result depends on how
// the work was cut. How we notice: a naive decoder in double precision is the second implementation, for one small model per
// flag; and every way of cutting the same work (batch size, threads, memory, kernels) must give the same bits.
#include "native/model/decoder.h"

#include <cfenv>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "native/model/testing_engine.h"
#include "native/model/testing_model.h"
#include "native/model/testing_reference.h"

namespace hypura::model {
namespace {

std::vector<uint32_t> random_tokens(size_t n, uint32_t n_vocab, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> tokens(n);
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random() % n_vocab);
  return tokens;
}

// Mean square of the difference over mean square of the reference.
double distance(const std::vector<float>& ours, const std::vector<double>& theirs) {
  if (ours.size() != theirs.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, size = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    difference += (ours[i] - theirs[i]) * (ours[i] - theirs[i]);
    size += theirs[i] * theirs[i];
  }
  return difference / size;
}

std::vector<double> reference_logits(const TinyModel& model, std::span<const uint32_t> tokens) {
  ReferenceDecoder reference(model);
  std::vector<double> all;
  for (const uint32_t token : tokens) {
    const std::vector<double> row = reference.next(token);
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

// F32 weights: what remains is float arithmetic and F16 keys and values.
void expect_agreement(const TinyShape& shape, double distance_max = 1e-5) {
  const TinyModel model(shape, 11);
  const std::vector<uint32_t> tokens = random_tokens(12, model.spec().n_vocab, 5);
  const std::vector<double> expected = reference_logits(model, tokens);
  for (const kernels::KernelSet* const* set = kernels::runnable_kernel_sets(); *set != nullptr;
       ++set) {
    const auto engine = TestEngine::create(model, {.kernels = *set});
    ASSERT(engine != nullptr);
    const double found = distance(engine->logits(tokens, 5), expected);
    if (!(found <= distance_max))
      std::cerr << "  " << (*set)->name << ": distance " << found << "\n";
    EXPECT(found <= distance_max);
  }
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Types as a real mix has them: two K-quants in one use group, 32-weight types beside them, F16 in the head.
QuantType mixed_types(TensorRole role, uint32_t expert) {
  switch (role) {
    case TensorRole::kQuery:
    case TensorRole::kFfnGate:
    case TensorRole::kSharedGate:
      return QuantType::kQ4_K;
    case TensorRole::kKey:
    case TensorRole::kExpertUp:
      return QuantType::kQ5_K;
    case TensorRole::kValue:
    case TensorRole::kFfnUp:
      return QuantType::kQ8_0;
    case TensorRole::kFfnDown:
    case TensorRole::kExpertDown:
      return expert % 2 == 0 ? QuantType::kQ6_K : QuantType::kQ8_0;
    case TensorRole::kExpertGate:
      return expert % 3 == 0 ? QuantType::kQ4_0 : QuantType::kQ4_K;
    case TensorRole::kAttentionOutput:
      return QuantType::kQ4_0;
    case TensorRole::kOutput:
    case TensorRole::kRouter:
      return QuantType::kF16;
    case TensorRole::kTokenEmbedding:
      return QuantType::kQ6_K;
    default:
      return QuantType::kF32;
  }
}

TinyShape mixed_dense() { return {.spec = tiny_spec(), .optional = {}, .type = mixed_types}; }
TinyShape mixed_mixture() {
  TinyShape shape{.spec = tiny_mixture_spec(), .optional = {}, .type = mixed_types};
  shape.spec.n_ff_shared = 256;
  return shape;
}

// --- against the reference, one family flag after the other ---

TEST(decoder_agrees_on_a_llama) {
  expect_agreement({.spec = tiny_spec(), .optional = {}, .type = {}});
}

TEST(decoder_agrees_with_biases_and_halves_rotated) {
  TinyShape shape{
      .spec = tiny_spec(),
      .optional = {TensorRole::kQueryBias, TensorRole::kKeyBias, TensorRole::kValueBias,
                   TensorRole::kAttentionOutputBias, TensorRole::kOutputBias,
                   TensorRole::kFfnGateBias, TensorRole::kFfnUpBias, TensorRole::kFfnDownBias},
      .type = {}};
  shape.spec.rope = RopeKind::kNeox;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_a_norm_per_head_and_partial_rotation) {
  TinyShape shape{.spec = tiny_spec(), .optional = {}, .type = {}};
  shape.spec.qk_norm = QkNorm::kPerHead;
  shape.spec.rope = RopeKind::kNeox;
  shape.spec.n_rot = 32;
  shape.spec.rope_magnitude = 1.2f;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_a_norm_over_rows_and_no_rotation) {
  TinyShape shape{.spec = tiny_spec(), .optional = {}, .type = {}};
  shape.spec.qk_norm = QkNorm::kWholeRow;
  shape.spec.rope = RopeKind::kNone;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_gelu_post_norms_and_scales) {
  TinyShape shape{.spec = tiny_spec(),
                  .optional = {TensorRole::kAttentionPostNorm, TensorRole::kFfnPostNorm},
                  .type = {}};
  shape.spec.activation = Activation::kGeluTanh;
  shape.spec.embedding_scale = 16;
  shape.spec.residual_scale = 0.22f;
  shape.spec.logit_scale = 0.125f;
  shape.spec.attention_scale = 0.2f;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_heads_of_unequal_width) {
  TinyShape shape{.spec = tiny_spec(), .optional = {}, .type = {}};
  shape.spec.n_head = 6;
  shape.spec.head_dim_k = 48;
  shape.spec.n_rot = 48;
  shape.spec.head_dim_v = 32;
  expect_agreement(shape);
}

TEST(decoder_agrees_on_a_mixture) {
  expect_agreement({.spec = tiny_mixture_spec(), .optional = {}, .type = {}});
}

TEST(decoder_agrees_on_a_mixture_without_normalisation) {
  TinyShape shape{.spec = tiny_mixture_spec(), .optional = {}, .type = {}};
  shape.spec.gating_normalised = 0;
  shape.spec.qk_norm = QkNorm::kWholeRow;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_sigmoid_selection_bias_dense_lead_and_shared_expert) {
  TinyShape shape{
      .spec = tiny_mixture_spec(), .optional = {TensorRole::kRouterSelectionBias}, .type = {}};
  shape.spec.n_layer = 3;
  shape.spec.n_layer_dense_lead = 1;
  shape.spec.n_ff = 320;
  shape.spec.n_ff_shared = 160;
  shape.spec.gating = Gating::kSigmoid;
  shape.spec.expert_weights_scale = 2.5f;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_a_gated_shared_expert_and_fused_gate_and_up) {
  TinyShape shape{.spec = tiny_mixture_spec(),
                  .optional = {TensorRole::kSharedRouter, TensorRole::kFfnPostNorm},
                  .type = {}};
  shape.spec.n_ff_shared = 96;
  shape.spec.gating_normalised = 0;
  shape.fused_gate_up = true;
  expect_agreement(shape);
}

TEST(decoder_agrees_with_softmax_after_the_choice) {
  TinyShape shape{.spec = tiny_mixture_spec(), .optional = {}, .type = {}};
  shape.spec.gating = Gating::kSoftmaxAfterTopK;
  expect_agreement(shape);
}

// Quantised activations cost accuracy; a wrong block, scale or form costs far more.
TEST(decoder_agrees_on_mixed_quantised_types) { expect_agreement(mixed_dense(), 5e-3); }

// --- the same bits, however the work is cut ---

TEST(logits_do_not_depend_on_batch_threads_memory_or_kernels) {
  for (const TinyShape& shape : {mixed_dense(), mixed_mixture()}) {
    const TinyModel model(shape, 23);
    const std::vector<uint32_t> tokens = random_tokens(70, model.spec().n_vocab, 9);
    const auto one_by_one =
        TestEngine::create(model, {.n_threads = 1, .batch_positions = 1, .logits_rows = 1});
    ASSERT(one_by_one != nullptr);
    const std::vector<float> expected = one_by_one->logits(tokens, 1);
    for (const kernels::KernelSet* const* set = kernels::runnable_kernel_sets(); *set != nullptr;
         ++set)
      for (const uint32_t n_threads : {1u, 2u, 4u})
        for (const uint32_t chunk : {1u, 7u, 64u})
          for (const bool resident : {true, false}) {
            const auto engine = TestEngine::create(model, {.n_threads = n_threads,
                                                           .batch_positions = chunk,
                                                           .logits_rows = chunk,
                                                           .resident = resident,
                                                           .ring_slots = 1 + n_threads,
                                                           .pool_slots = 1 + n_threads,
                                                           .row_slots = n_threads,
                                                           .kernels = *set});
            ASSERT(engine != nullptr);
            const bool same = same_bits(engine->logits(tokens, chunk), expected);
            if (!same)
              std::cerr << "  " << (*set)->name << ", threads " << n_threads << ", chunk " << chunk
                        << ", resident " << resident << "\n";
            EXPECT(same);
          }
  }
}

// One position by two threads has less than two tiles per thread: chunks of keys are the pieces of work, here in two waves,
// as three heads have room for three chunks each.
TEST(logits_do_not_depend_on_the_batch_or_threads_across_pages) {
  TinyShape shape = mixed_dense();
  shape.spec.n_layer = 1;
  shape.spec.n_head = shape.spec.n_head_kv = 3;
  const TinyModel model(shape, 29);
  const std::vector<uint32_t> tokens = random_tokens(900, model.spec().n_vocab, 13);
  for (const kernels::KvType k_type : {kernels::KvType::kF16, kernels::KvType::kQ8_0})
    for (const kernels::KvType v_type : {kernels::KvType::kF16, kernels::KvType::kQ8_0}) {
      const auto run = [&](uint32_t n_threads, uint32_t chunk, uint32_t last) {
        const auto engine = TestEngine::create(model, {.n_threads = n_threads,
                                                       .batch_positions = 300,
                                                       .logits_rows = 300,
                                                       .n_ctx = 1024,
                                                       .kv_types = {k_type, v_type},
                                                       .kernels = &kernels::choose_kernels(nullptr)});
        if (engine == nullptr) return std::vector<float>();
        const std::span<const uint32_t> all(tokens);
        std::vector<float> logits = engine->logits(all.first(all.size() - last), chunk);
        const std::vector<float> rest = engine->logits(all.last(last), 1);
        logits.insert(logits.end(), rest.begin(), rest.end());
        return logits;
      };
      const std::vector<float> expected = run(1, 300, 0);
      EXPECT_EQ(expected.size(), tokens.size() * model.spec().n_vocab);
      EXPECT(same_bits(run(1, 7, 20), expected));
      EXPECT(same_bits(run(2, 200, 40), expected));
      EXPECT(same_bits(run(4, 64, 20), expected));
    }
}

// The stored form costs some accuracy and no more, and it is really used.
TEST(logits_with_a_q8_0_cache_are_near_those_with_f16) {
  const TinyModel model(mixed_dense(), 31);
  const std::vector<uint32_t> tokens = random_tokens(120, model.spec().n_vocab, 17);
  const auto f16 = TestEngine::create(model, {});
  const auto q8_0 =
      TestEngine::create(model, {.kv_types = {kernels::KvType::kQ8_0, kernels::KvType::kQ8_0}});
  ASSERT(f16 != nullptr && q8_0 != nullptr);
  const std::vector<float> near = f16->logits(tokens, 60);
  const double found = distance(q8_0->logits(tokens, 60), {near.begin(), near.end()});
  if (!(found > 0 && found <= 1e-3)) std::cerr << "  distance " << found << "\n";
  EXPECT(found > 0 && found <= 1e-3);
}

TEST(logits_do_not_depend_on_other_sequences_in_the_batch) {
  const TinyModel model(mixed_mixture(), 31);
  const std::vector<uint32_t> a = random_tokens(9, model.spec().n_vocab, 1);
  const std::vector<uint32_t> b = random_tokens(9, model.spec().n_vocab, 2);
  const auto alone = TestEngine::create(model, {});
  const auto together = TestEngine::create(model, {});
  ASSERT(alone != nullptr && together != nullptr);
  const std::vector<float> of_a = alone->logits(a, 9, 0);
  const std::vector<float> of_b = alone->logits(b, 9, 1);
  std::vector<TokenEntry> entries;
  for (uint32_t i = 0; i < 9; ++i) {
    entries.push_back({.token = a[i], .position = i, .sequence = 0, .wants_logits = true});
    entries.push_back({.token = b[i], .position = i, .sequence = 1, .wants_logits = true});
  }
  std::vector<float> both;
  EXPECT_OK(together->sweep(entries, both));
  const size_t row = model.spec().n_vocab;
  ASSERT(both.size() == 18 * row);
  bool same = true;
  for (size_t i = 0; i < 9; ++i) {
    same = same && std::memcmp(&both[2 * i * row], &of_a[i * row], row * sizeof(float)) == 0;
    same = same && std::memcmp(&both[(2 * i + 1) * row], &of_b[i * row], row * sizeof(float)) == 0;
  }
  EXPECT(same);
}

TEST(logits_are_the_same_in_groups_of_rows_and_on_request) {
  const TinyModel model(mixed_dense(), 37);
  const std::vector<uint32_t> tokens = random_tokens(11, model.spec().n_vocab, 3);
  for (const bool resident : {true, false}) {
    const auto whole = TestEngine::create(model, {.logits_rows = 11, .resident = resident});
    const auto groups = TestEngine::create(model, {.logits_rows = 4, .resident = resident});
    const auto last = TestEngine::create(model, {.logits_rows = 1, .resident = resident});
    ASSERT(whole != nullptr && groups != nullptr && last != nullptr);
    const std::vector<float> expected = whole->logits(tokens, 11);
    EXPECT(same_bits(groups->logits(tokens, 11), expected));

    std::vector<TokenEntry> entries;
    for (uint32_t i = 0; i < 11; ++i)
      entries.push_back({.token = tokens[i], .position = i, .wants_logits = i == 10});
    std::vector<float> row;
    EXPECT_OK(last->sweep(entries, row));
    EXPECT(same_bits(row, {expected.end() - model.spec().n_vocab, expected.end()}));
  }
}

// A file may have general.alignment 1: no vector of the trunk can then be used where it lies.
TEST(decoder_agrees_with_vectors_at_odd_addresses) {
  TinyShape shape{.spec = tiny_mixture_spec(),
                  .optional = {TensorRole::kQueryBias, TensorRole::kRouterSelectionBias},
                  .type = {}};
  shape.alignment_bytes = 1;
  expect_agreement(shape);
}

TEST(logits_do_not_depend_on_the_rounding_mode_of_the_caller) {
  TinyShape shape = mixed_mixture();
  shape.spec.embedding_scale = 3.7f;  // a rounded product on the caller's thread
  const TinyModel model(shape, 67);
  const std::vector<uint32_t> tokens = random_tokens(5, model.spec().n_vocab, 6);
  const auto engine = TestEngine::create(model, {});
  ASSERT(engine != nullptr);
  const std::vector<float> expected = engine->logits(tokens, 5, 0);
  std::fesetround(FE_UPWARD);
  const std::vector<float> upward = engine->logits(tokens, 5, 1);
  EXPECT_EQ(std::fegetround(), FE_UPWARD);
  std::fesetround(FE_TONEAREST);
  EXPECT(same_bits(upward, expected));
}

// --- life of a sequence ---

TEST(truncated_positions_are_forgotten) {
  const TinyModel model(mixed_dense(), 41);
  const std::vector<uint32_t> tokens = random_tokens(20, model.spec().n_vocab, 4);
  const auto engine = TestEngine::create(model, {});
  ASSERT(engine != nullptr);
  const std::vector<float> expected = engine->logits(tokens, 20);
  engine->kv().truncate(0, 8);
  const std::vector<float> again = engine->logits({tokens.data() + 8, 12}, 12);
  EXPECT(same_bits(again, {expected.begin() + 8 * model.spec().n_vocab, expected.end()}));
}

TEST(entries_that_do_not_fit_are_refused_before_any_work) {
  const TinyModel model(mixed_dense(), 43);
  const auto engine =
      TestEngine::create(model, {.batch_positions = 2, .n_ctx = 3, .n_sequences = 1});
  ASSERT(engine != nullptr);
  std::vector<float> none;
  const auto code = [&](std::vector<TokenEntry> entries) {
    return engine->sweep(entries, none).code();
  };
  EXPECT(code({}) == Code::kInvalidArgument);
  EXPECT(code({{.token = 331}}) == Code::kInvalidArgument);
  EXPECT(code({{.sequence = 1}}) == Code::kInvalidArgument);
  EXPECT(code({{.position = 1}}) == Code::kInvalidArgument);
  EXPECT(code({{.position = 0}, {.position = 0}}) == Code::kInvalidArgument);
  EXPECT(code({{}, {.position = 1}, {.position = 2}}) == Code::kInvalidArgument);
  EXPECT_EQ(engine->logits(random_tokens(3, 331, 1), 2).size(), size_t{3 * 331});
  EXPECT(code({{.position = 3}}) == Code::kContextOverflow);
  EXPECT_EQ(engine->kv().length(0), 3u);
}

TEST(a_cancelled_sweep_leaves_the_sequence_as_it_was) {
  const TinyModel model(mixed_mixture(), 47);
  const auto engine = TestEngine::create(model, {});
  ASSERT(engine != nullptr);
  const std::vector<TokenEntry> entries{{.token = 1, .position = 0, .wants_logits = true}};
  std::vector<float> logits;
  engine->cancelled = true;
  EXPECT(engine->sweep(entries, logits).code() == Code::kCancelled);
  EXPECT_EQ(engine->kv().length(0), 0u);
  engine->cancelled = false;
  EXPECT_OK(engine->sweep(entries, logits));
  EXPECT_EQ(engine->kv().length(0), 1u);
}

TEST(a_damaged_weight_ends_the_sweep_naming_the_layer) {
  TinyModel model({.spec = tiny_spec(), .optional = {}, .type = {}}, 53);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(model.file.data() + model.offset_of(TensorRole::kFfnUp, 1), &nan, sizeof(nan));
  const auto engine = TestEngine::create(model, {});
  ASSERT(engine != nullptr);
  const std::vector<TokenEntry> entries{{.token = 1, .position = 0, .wants_logits = true}};
  std::vector<float> logits;
  const Status status = engine->sweep(entries, logits);
  EXPECT(status.code() == Code::kNonFinite);
  EXPECT(status.message().find("layer 1") != std::string::npos);
  EXPECT(logits.empty());
}

TEST(the_observer_hears_every_choice_and_their_union) {
  struct Recorder : SweepObserver {
    void on_route(uint16_t layer, uint32_t entry, std::span<const uint16_t> experts,
                  std::span<const float> weights) override {
      const HotPathPause pause;
      routes.push_back({layer, entry});
      chosen.insert(chosen.end(), experts.begin(), experts.end());
      for (const float weight : weights) sum += weight;
    }
    void on_union(uint16_t layer, std::span<const uint16_t> experts) override {
      const HotPathPause pause;
      std::sort(chosen.begin(), chosen.end());
      chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
      unions_agree =
          unions_agree && std::equal(chosen.begin(), chosen.end(), experts.begin(), experts.end());
      chosen.clear();
      last_union.assign(experts.begin(), experts.end());
      ++unions;
    }
    void on_absent(uint16_t, std::span<const uint16_t> experts) override {
      const HotPathPause pause;
      absent += experts.size();
      absent_are_of_the_union =
          absent_are_of_the_union && std::includes(last_union.begin(), last_union.end(),
                                                   experts.begin(), experts.end());
    }
    std::vector<std::pair<uint16_t, uint32_t>> routes;
    std::vector<uint16_t> chosen, last_union;
    size_t absent = 0;
    bool absent_are_of_the_union = true;
    double sum = 0;
    bool unions_agree = true;
    int unions = 0;
  } recorder;
  const TinyModel model(mixed_mixture(), 59);
  const auto engine = TestEngine::create(model, {.resident = false});
  ASSERT(engine != nullptr);
  std::vector<TokenEntry> entries;
  for (uint32_t i = 0; i < 6; ++i) entries.push_back({.token = 40 * i, .position = i});
  std::vector<float> none;
  EXPECT_OK(engine->sweep(entries, none, &recorder));
  EXPECT_EQ(recorder.routes.size(), size_t{2 * 6});
  EXPECT_EQ(recorder.unions, 2);
  EXPECT(recorder.unions_agree);
  EXPECT(recorder.absent_are_of_the_union);
  EXPECT(recorder.absent > 0);  // the pool is empty at first
  EXPECT(std::abs(recorder.sum - 12) < 1e-4);
  EXPECT(none.empty());
}

// --- what create() refuses ---

TEST(create_refuses_tensors_that_do_not_fit_the_model) {
  const auto code_after = [](auto&& damage) {
    TinyModel model(mixed_mixture(), 61);
    damage(model.tensors);
    const auto decoder = TestEngine::try_decoder(model, {});
    return decoder.status().code();
  };
  using Tensors = std::vector<TensorEntry>;
  const auto find = [](Tensors& tensors, TensorRole role) -> TensorEntry& {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const TensorEntry& t) { return t.role == role; });
  };
  EXPECT(code_after([](Tensors&) {}) == Code::kOk);
  EXPECT(code_after([](Tensors& t) { t.pop_back(); }) == Code::kBadLoad);
  EXPECT(code_after([](Tensors& t) { t.push_back(t.back()); }) == Code::kBadLoad);
  EXPECT(code_after([](Tensors& t) { t[0].layer = 9; }) == Code::kBadLoad);
  EXPECT(code_after([](Tensors& t) { t[0].role = TensorRole{999}; }) == Code::kBadLoad);
  EXPECT(code_after([&](Tensors& t) { find(t, TensorRole::kKey).n_cols = 128; }) == Code::kBadLoad);
  EXPECT(code_after([&](Tensors& t) { find(t, TensorRole::kKey).first_block += 1; }) ==
         Code::kBadLoad);
  EXPECT(code_after([&](Tensors& t) { find(t, TensorRole::kExpertUp).first_block += 1; }) ==
         Code::kBadLoad);
  EXPECT(code_after([&](Tensors& t) { find(t, TensorRole::kQuery).type = 4; }) ==
         Code::kUnsupported);
}

}  // namespace
}  // namespace hypura::model
