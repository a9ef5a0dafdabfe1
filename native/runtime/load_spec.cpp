// check_spec(), check_inv_freq(): the numbers of the model, before any table is measured by them.
#include <cmath>

#include "native/base/limits.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

using model::ModelSpec;

class SpecCheck {
 public:
  explicit SpecCheck(uint64_t spec_offset) : spec_offset_(spec_offset) {}

  void range(const char* name, size_t field, uint64_t found, uint64_t least, uint64_t most) {
    if (found < least || found > most)
      fail(field, text(name, " is ", found, ", allowed are ", least, " to ", most));
  }
  void that(bool holds, size_t field, const char* sentence) {
    if (!holds) fail(field, sentence);
  }
  void positive(const char* name, size_t field, float found) {
    if (!std::isfinite(found) || found <= 0)
      fail(field, text(name, " is ", found, ", it must be finite and above 0"));
  }
  void factor(const char* name, size_t field, float found) {
    if (!std::isfinite(found) || found == 0)
      fail(field, text(name, " is ", found, ", it must be finite and not 0"));
  }
  Status status() const { return status_; }

 private:
  void fail(size_t field, std::string sentence) {
    if (status_.ok())
      status_ = bad_load(spec_offset_ + field, "model shape: " + std::move(sentence));
  }
  uint64_t spec_offset_;
  Status status_;  // the first one
};

#define FIELD(name) #name, offsetof(ModelSpec, name), static_cast < uint64_t>(spec.name)
#define FLOAT(name) #name, offsetof(ModelSpec, name), spec.name

void check_shape(const ModelSpec& spec, SpecCheck& check) {
  check.range(FIELD(n_layer), 1, kLayersMax);
  check.range(FIELD(n_embd), 1, kWidthMax);
  check.range(FIELD(n_head), 1, 65536);
  check.range(FIELD(n_head_kv), 1, 65536);
  check.that(spec.n_head_kv == 0 || spec.n_head % spec.n_head_kv == 0,
             offsetof(ModelSpec, n_head_kv), "n_head is not a multiple of n_head_kv");
  check.range(FIELD(head_dim_k), 1, 65536);
  check.range(FIELD(head_dim_v), 1, 65536);
  check.range("n_head * head_dim_k", offsetof(ModelSpec, head_dim_k),
              uint64_t{spec.n_head} * spec.head_dim_k, 1, kWidthMax);
  check.range("n_head * head_dim_v", offsetof(ModelSpec, head_dim_v),
              uint64_t{spec.n_head} * spec.head_dim_v, 1, kWidthMax);
  check.range(FIELD(n_vocab), 1, kWidthMax);
  check.range(FIELD(n_layer_dense_lead), 0, spec.n_layer);
}

void check_feed_forward(const ModelSpec& spec, SpecCheck& check) {
  const bool mixture = spec.n_expert > 0 && spec.n_layer_dense_lead < spec.n_layer;
  const bool dense = spec.n_expert == 0 || spec.n_layer_dense_lead > 0;
  check.range(FIELD(n_ff), dense ? 1 : 0, kWidthMax);
  check.range(FIELD(n_expert), 0, kExpertsMax);
  check.range(FIELD(n_expert_used), mixture ? 1 : 0, spec.n_expert);
  check.range(FIELD(n_ff_expert), mixture ? 1 : 0, kWidthMax / 2);
  check.range(FIELD(n_ff_shared), 0, mixture ? kWidthMax : 0);
  check.range(FIELD(activation), 0, static_cast<uint64_t>(model::Activation::kGeluTanh));
  check.range(FIELD(gating), 0, static_cast<uint64_t>(model::Gating::kSoftmaxAfterTopK));
  check.range(FIELD(gating_normalised), 0, 1);
  check.factor(FLOAT(expert_weights_scale));
}

void check_attention(const ModelSpec& spec, SpecCheck& check) {
  check.range(FIELD(rope), 0, static_cast<uint64_t>(model::RopeKind::kNeox));
  check.range(FIELD(n_rot), spec.rope == model::RopeKind::kNone ? 0 : 2, spec.head_dim_k);
  check.that(spec.n_rot % 2 == 0, offsetof(ModelSpec, n_rot),
             "n_rot is odd, elements are rotated in pairs");
  check.range(FIELD(qk_norm), 0, static_cast<uint64_t>(model::QkNorm::kWholeRow));
  check.positive(FLOAT(norm_epsilon));
  check.positive(FLOAT(attention_scale));
  check.positive(FLOAT(rope_magnitude));
  check.factor(FLOAT(embedding_scale));
  check.factor(FLOAT(residual_scale));
  check.factor(FLOAT(logit_scale));
}

#undef FIELD
#undef FLOAT

}  // namespace

Status check_spec(const ModelSpec& spec, uint64_t spec_offset_bytes) {
  SpecCheck check(spec_offset_bytes);
  check_shape(spec, check);
  check_feed_forward(spec, check);
  check_attention(spec, check);
  return check.status();
}

Status check_inv_freq(const LoadRecords& records) {
  if (records.header.n_inv_freq != records.spec.n_rot / 2)
    return bad_load(
        offsetof(LoadHeader, n_inv_freq),
        text("the Load message has ", records.header.n_inv_freq, " inverse frequencies, n_rot is ",
             records.spec.n_rot, ": it needs ", records.spec.n_rot / 2));
  for (size_t i = 0; i < records.inv_freq.size(); ++i)
    if (!std::isfinite(records.inv_freq[i]) || records.inv_freq[i] < 0)
      return bad_load(records.header.inv_freq_offset + i * sizeof(double),
                      text("inverse frequency ", i, " is ", records.inv_freq[i],
                           ", it must be finite and not negative"));
  return {};
}

}  // namespace hypura::runtime
