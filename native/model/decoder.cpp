#include "native/model/decoder.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "native/base/check.h"
#include "native/base/hot_path_guard.h"
#include "native/base/limits.h"
#include "native/kernels/float_state.h"
#include "native/model/layers/attention.h"
#include "native/model/layers/ffn.h"
#include "native/model/layers/moe.h"
#include "native/model/layers/projection.h"
#include "native/model/rope.h"
#include "native/model/weights.h"

namespace hypura::model {

struct Decoder::State {
  ModelSpec spec;
  scheduler::BlockCache& cache;
  const kernels::KernelSet& kernels;
  kernels::ThreadPool& pool;
  KvCache& kv;
  Scratch scratch;
  ModelWeights weights;
  std::optional<RopeAngles> rope;
  uint32_t batch_positions;
  uint32_t logits_rows;

  Status check(const TokenBatch& batch) const;
  Status embed(const Sweep& sweep);
  void turn(const Sweep& sweep);
  Status run_layers(const Sweep& sweep);
  Status run_head(const Sweep& sweep);
};

namespace {

// What the Load message's decoder has checked; here because a wrong shape would be a wrong pointer.
Status check_spec(const DecoderParts& parts) {
  const ModelSpec& spec = parts.spec;
  const auto refuse = [](const char* what) { return Status::error(Code::kBadLoad, what); };
  if (spec.n_embd == 0 || spec.n_vocab == 0 || spec.n_layer == 0 || spec.n_layer > kLayersMax)
    return refuse("the model has no width, no vocabulary or no legal number of layers");
  if (spec.n_head == 0 || spec.n_head_kv == 0 || spec.n_head % spec.n_head_kv != 0)
    return refuse("the number of query heads is no multiple of the number of key heads");
  if (spec.n_rot % 2 != 0 || spec.n_rot > spec.head_dim_k)
    return refuse("the number of rotated elements is odd or larger than a head");
  if (spec.n_expert > kExpertsMax || spec.n_expert_used > spec.n_expert ||
      (spec.n_expert > 0 && spec.n_expert_used == 0))
    return refuse("the number of experts used is not between one and the number of experts");
  if (parts.batch_positions == 0 || parts.logits_rows == 0)
    return Status::error(Code::kInvalidArgument,
                         "a sweep needs room for at least one position and one row of logits");
  return {};
}

bool is_cancelled(const TokenBatch& batch) {
  // Relaxed: the flag carries nothing but itself.
  return batch.cancelled != nullptr && batch.cancelled->load(std::memory_order_relaxed);
}

Status refuse_entry(Code code, uint32_t i, const std::string& what) {
  return Status::error(code, "entry " + std::to_string(i) + " of the batch: " + what);
}

}  // namespace

Decoder::Decoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Decoder::~Decoder() = default;

Result<std::unique_ptr<Decoder>> Decoder::create(const DecoderParts& parts) {
  HYPURA_TRY(check_spec(parts));
  HYPURA_TRY_ASSIGN(Scratch scratch,
                    Scratch::carve(parts.scratch, parts.spec, parts.batch_positions,
                                   parts.logits_rows, parts.pool.n_threads()));
  HYPURA_TRY_ASSIGN(ModelWeights weights, resolve_weights(parts));
  std::optional<RopeAngles> rope;
  if (parts.spec.rope != RopeKind::kNone) {
    HYPURA_TRY_ASSIGN(rope, RopeAngles::create(parts.spec, parts.inv_freq, parts.kv.n_ctx()));
  }
  return std::unique_ptr<Decoder>(
      new Decoder(std::unique_ptr<State>(new State{.spec = parts.spec,
                                                   .cache = parts.cache,
                                                   .kernels = parts.kernels,
                                                   .pool = parts.pool,
                                                   .kv = parts.kv,
                                                   .scratch = scratch,
                                                   .weights = std::move(weights),
                                                   .rope = std::move(rope),
                                                   .batch_positions = parts.batch_positions,
                                                   .logits_rows = parts.logits_rows})));
}

Status Decoder::sweep(const TokenBatch& batch) {
  State& s = *state_;
  const kernels::FloatDefaults
      defaults;  // E10, for what is computed on this thread outside of the pool
  HYPURA_TRY(s.check(batch));
  const Sweep sweep{.spec = s.spec,
                    .kernels = s.kernels,
                    .pool = s.pool,
                    .cache = s.cache,
                    .kv = s.kv,
                    .scratch = s.scratch,
                    .batch = batch};
  HYPURA_TRY(s.embed(sweep));
  s.turn(sweep);
  HYPURA_TRY(s.run_layers(sweep));
  HYPURA_TRY(s.run_head(sweep));
  for (const TokenEntry& entry : batch.entries) s.kv.set_length(entry.sequence, entry.position + 1);
  return {};
}

// Entries of a sequence must continue it. Quadratic in the batch, of 512 at most: nothing beside one layer.
Status Decoder::State::check(const TokenBatch& batch) const {
  const HotPathPause pause;
  if (batch.entries.empty() || batch.entries.size() > batch_positions)
    return Status::error(Code::kInvalidArgument, "a batch of " +
                                                     std::to_string(batch.entries.size()) +
                                                     " entries, this model was loaded for 1 to " +
                                                     std::to_string(batch_positions));
  for (uint32_t i = 0; i < batch.entries.size(); ++i) {
    const TokenEntry& entry = batch.entries[i];
    if (entry.token >= spec.n_vocab)
      return refuse_entry(Code::kInvalidArgument, i,
                          "token " + std::to_string(entry.token) + ", the vocabulary ends at " +
                              std::to_string(spec.n_vocab - 1));
    if (entry.sequence >= kv.n_sequences())
      return refuse_entry(
          Code::kInvalidArgument, i,
          "sequence " + std::to_string(entry.sequence) + " of " + std::to_string(kv.n_sequences()));
    if (entry.position >= kv.n_ctx())
      return refuse_entry(Code::kContextOverflow, i,
                          "position " + std::to_string(entry.position) + ", the context holds " +
                              std::to_string(kv.n_ctx()) +
                              ". Load the model with a longer context.");
    uint32_t expected = kv.length(entry.sequence);
    for (uint32_t j = 0; j < i; ++j) expected += batch.entries[j].sequence == entry.sequence;
    if (entry.position != expected)
      return refuse_entry(Code::kInvalidArgument, i,
                          "position " + std::to_string(entry.position) + ", sequence " +
                              std::to_string(entry.sequence) + " continues at " +
                              std::to_string(expected));
    if (entry.wants_logits && batch.on_logits == nullptr)
      return refuse_entry(Code::kInvalidArgument, i, "wants logits, but nobody receives them");
  }
  return {};
}

// x of all entries. Bands of the embedding come in the order of arrival; each is used for all of its tokens.
Status Decoder::State::embed(const Sweep& sweep) {
  const uint32_t n = sweep.n_entries();
  const auto entries = sweep.entries();
  const auto token_less = [&](uint32_t a, uint32_t b) {
    return entries[a].token < entries[b].token;
  };
  uint32_t* by_token = scratch.entries;
  uint32_t n_bands = 0;
  for (uint32_t i = 0; i < n; ++i) by_token[i] = i;
  std::sort(by_token, by_token + n, token_less);
  for (uint32_t i = 0; i < n; ++i) {
    const BlockId band{weights.embedding_first_block +
                       entries[by_token[i]].token / kRowsPerRowBand};
    if (n_bands == 0 || scratch.blocks[n_bands - 1] != band) scratch.blocks[n_bands++] = band;
  }
  HYPURA_TRY(cache.request({scratch.blocks, n_bands}));

  while (true) {
    HYPURA_TRY_ASSIGN(const std::optional<scheduler::BlockLease> lease, cache.next_row_band());
    if (!lease) return {};
    const uint32_t first_token =
        (index_of(lease->block()) - weights.embedding_first_block) * kRowsPerRowBand;
    const uint32_t* at = std::partition_point(
        by_token, by_token + n, [&](uint32_t i) { return entries[i].token < first_token; });
    for (; at != by_token + n && entries[*at].token - first_token < kRowsPerRowBand; ++at) {
      float* x = scratch.x + uint64_t{*at} * spec.n_embd;
      const uint64_t row = entries[*at].token - first_token;
      weights.embedding(lease->extent(0) + row * weights.embedding_row_bytes, spec.n_embd, x);
      if (spec.embedding_scale != 1.0f) kernels.scale(spec.embedding_scale, spec.n_embd, x);
    }
  }
}

void Decoder::State::turn(const Sweep& sweep) {
  if (!rope) return;
  const uint64_t n_pairs = spec.n_rot / 2;
  pool.for_each(sweep.n_entries(), 4, [&](uint32_t begin, uint32_t end, uint32_t) {
    for (uint32_t i = begin; i < end; ++i)
      rope->at(sweep.entries()[i].position, scratch.cosines + i * n_pairs,
               scratch.sines + i * n_pairs);
  });
}

Status Decoder::State::run_layers(const Sweep& sweep) {
  for (uint16_t layer = 0; layer < spec.n_layer; ++layer) {
    if (is_cancelled(sweep.batch)) {
      const HotPathPause pause;
      return Status::error(Code::kCancelled, "cancelled before layer " + std::to_string(layer));
    }
    const LayerWeights& w = weights.layers[layer];
    const bool guessable = layer + 1u < spec.n_layer && weights.layers[layer + 1].is_mixture();
    const LayerWeights* next = guessable ? &weights.layers[layer + 1] : nullptr;
    HYPURA_TRY(attend(sweep, w.attention, layer));
    HYPURA_TRY(w.is_mixture() ? feed_forward_mixture(sweep, w, layer, next)
                              : feed_forward_dense(sweep, w, layer));
  }
  return {};
}

// Logits of the entries that want them, in groups of logits_rows rows.
Status Decoder::State::run_head(const Sweep& sweep) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < sweep.n_entries(); ++i)
    if (sweep.entries()[i].wants_logits) scratch.entries[n++] = i;

  for (uint32_t first = 0; first < n; first += logits_rows) {
    const uint32_t n_rows = std::min(logits_rows, n - first);
    HYPURA_TRY(quantize_normed(sweep, scratch.entries + first, n_rows, weights.output_norm,
                               weights.output.forms(), kNoLayer, "the input of the output head"));
    const Projection head[] = {{&weights.output, scratch.logits}};
    HYPURA_TRY(project(sweep, head, scratch.input, n_rows));

    std::atomic<bool> finite{true};
    pool.for_each(n_rows, 1, [&](uint32_t begin, uint32_t end, uint32_t) {
      for (uint32_t i = begin; i < end; ++i) {
        float* logits = scratch.logits + uint64_t{i} * spec.n_vocab;
        if (weights.output_bias != nullptr) kernels.add(weights.output_bias, spec.n_vocab, logits);
        if (spec.logit_scale != 1.0f) kernels.scale(spec.logit_scale, spec.n_vocab, logits);
        if (!std::all_of(logits, logits + spec.n_vocab, [](float x) { return std::isfinite(x); }))
          finite.store(false,
                       std::memory_order_relaxed);  // read after for_each, which synchronises
      }
    });
    if (!finite.load(std::memory_order_relaxed)) return non_finite(kNoLayer, "the logits");
    HYPURA_TRY(sweep.batch.on_logits(sweep.batch.logits_context, first, n_rows, scratch.logits));
  }
  return {};
}

}  // namespace hypura::model
