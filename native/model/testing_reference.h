// The same network, written down naively in double precision: the decoder's second implementation.
//
// One position after the other, no batches, no quantised activations, no F16 keys; loops as in a textbook.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "native/model/testing_model.h"

namespace hypura::model {

class ReferenceDecoder {
 public:
  explicit ReferenceDecoder(const TinyModel& model)
      : m_(model), s_(model.spec()), keys_(s_.n_layer), values_(s_.n_layer) {}

  // Logits of the next position.
  std::vector<double> next(uint32_t token) {
    const auto& table = m_.value_of(TensorRole::kTokenEmbedding, kNoLayer);
    Vector x(table.begin() + token * s_.n_embd, table.begin() + (token + 1) * s_.n_embd);
    for (double& value : x) value *= s_.embedding_scale;
    for (uint16_t layer = 0; layer < s_.n_layer; ++layer) {
      add(x, post(attention(norm(x, TensorRole::kAttentionNorm, layer), layer),
                  TensorRole::kAttentionPostNorm, layer));
      const Vector normed = norm(x, TensorRole::kFfnNorm, layer);
      const bool dense = s_.n_expert == 0 || layer < s_.n_layer_dense_lead;
      add(x, post(dense ? feed_forward(normed, layer) : mixture(normed, layer),
                  TensorRole::kFfnPostNorm, layer));
    }
    ++position_;
    Vector logits = biased(TensorRole::kOutput, TensorRole::kOutputBias, kNoLayer,
                           norm(x, TensorRole::kOutputNorm, kNoLayer));
    for (double& value : logits) value *= s_.logit_scale;
    return logits;
  }

 private:
  using Vector = std::vector<double>;

  static Vector product(const Vector& matrix, const Vector& x) {
    Vector y(matrix.size() / x.size());
    for (size_t r = 0; r < y.size(); ++r)
      y[r] = std::inner_product(x.begin(), x.end(), matrix.begin() + r * x.size(), 0.0);
    return y;
  }
  Vector biased(TensorRole matrix, TensorRole bias, uint16_t layer, const Vector& x) const {
    Vector y = product(m_.value_of(matrix, layer), x);
    if (m_.has(bias, layer))
      for (size_t i = 0; i < y.size(); ++i) y[i] += m_.value_of(bias, layer)[i];
    return y;
  }
  // Norm of each `n` elements in turn, all with the same weight.
  Vector normed(Vector x, const Vector& weight, size_t n) const {
    for (size_t begin = 0; begin < x.size(); begin += n) {
      double squares = 0;
      for (size_t i = 0; i < n; ++i) squares += x[begin + i] * x[begin + i];
      const double factor = 1 / std::sqrt(squares / n + s_.norm_epsilon);
      for (size_t i = 0; i < n; ++i) x[begin + i] *= factor * weight[i];
    }
    return x;
  }
  Vector norm(const Vector& x, TensorRole role, uint16_t layer) const {
    return normed(x, m_.value_of(role, layer), x.size());
  }
  Vector post(Vector x, TensorRole role, uint16_t layer) const {
    return m_.has(role, layer) ? norm(x, role, layer) : x;
  }
  void add(Vector& x, const Vector& result) const {
    for (size_t i = 0; i < x.size(); ++i) x[i] += s_.residual_scale * result[i];
  }
  static void softmax(Vector& x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - top);
    for (double& value : x) value /= sum;
  }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  void rotate(Vector& heads) const {
    if (s_.rope == RopeKind::kNone) return;
    for (size_t head = 0; head < heads.size(); head += s_.head_dim_k)
      for (uint32_t i = 0; i < s_.n_rot / 2; ++i) {
        const bool neox = s_.rope == RopeKind::kNeox;
        double& a = heads[head + (neox ? i : 2 * i)];
        double& b = heads[head + (neox ? i + s_.n_rot / 2 : 2 * i + 1)];
        const double angle = position_ * m_.inv_freq[i];
        const double c = s_.rope_magnitude * std::cos(angle),
                     d = s_.rope_magnitude * std::sin(angle);
        const double rotated_a = a * c - b * d;
        b = a * d + b * c;
        a = rotated_a;
      }
  }

  Vector attention(const Vector& x, uint16_t layer) {
    Vector q = biased(TensorRole::kQuery, TensorRole::kQueryBias, layer, x);
    Vector k = biased(TensorRole::kKey, TensorRole::kKeyBias, layer, x);
    if (s_.qk_norm != QkNorm::kNone) {
      const bool row = s_.qk_norm == QkNorm::kWholeRow;
      q = normed(q, m_.value_of(TensorRole::kQueryNorm, layer), row ? q.size() : s_.head_dim_k);
      k = normed(k, m_.value_of(TensorRole::kKeyNorm, layer), row ? k.size() : s_.head_dim_k);
    }
    rotate(q);
    rotate(k);
    keys_[layer].push_back(k);
    values_[layer].push_back(biased(TensorRole::kValue, TensorRole::kValueBias, layer, x));
    Vector out(s_.n_head * s_.head_dim_v, 0.0);
    for (uint32_t h = 0; h < s_.n_head; ++h) {
      const uint32_t kv_head = h / (s_.n_head / s_.n_head_kv);
      Vector scores;
      for (const Vector& key : keys_[layer])
        scores.push_back(s_.attention_scale *
                         std::inner_product(key.begin() + kv_head * s_.head_dim_k,
                                            key.begin() + (kv_head + 1) * s_.head_dim_k,
                                            q.begin() + h * s_.head_dim_k, 0.0));
      softmax(scores);
      for (size_t p = 0; p < scores.size(); ++p)
        for (uint32_t d = 0; d < s_.head_dim_v; ++d)
          out[h * s_.head_dim_v + d] += scores[p] * values_[layer][p][kv_head * s_.head_dim_v + d];
    }
    return biased(TensorRole::kAttentionOutput, TensorRole::kAttentionOutputBias, layer, out);
  }

  Vector gated(Vector gate, const Vector& up) const {
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i];
      const double gelu =
          0.5 * g * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (g + 0.044715 * g * g * g)));
      gate[i] = (s_.activation == Activation::kSilu ? g * sigmoid(g) : gelu) * up[i];
    }
    return gate;
  }
  Vector feed_forward(const Vector& x, uint16_t layer) const {
    return biased(TensorRole::kFfnDown, TensorRole::kFfnDownBias, layer,
                  gated(biased(TensorRole::kFfnGate, TensorRole::kFfnGateBias, layer, x),
                        biased(TensorRole::kFfnUp, TensorRole::kFfnUpBias, layer, x)));
  }
  Vector expert(const Vector& x, uint16_t layer, uint32_t e) const {
    Vector gate, up;
    if (m_.has(TensorRole::kExpertGateUp, layer)) {
      const Vector both = product(m_.value_of(TensorRole::kExpertGateUp, layer, e), x);
      gate.assign(both.begin(), both.begin() + s_.n_ff_expert);
      up.assign(both.begin() + s_.n_ff_expert, both.end());
    } else {
      gate = product(m_.value_of(TensorRole::kExpertGate, layer, e), x);
      up = product(m_.value_of(TensorRole::kExpertUp, layer, e), x);
    }
    return product(m_.value_of(TensorRole::kExpertDown, layer, e), gated(gate, up));
  }
  Vector mixture(const Vector& x, uint16_t layer) const {
    Vector p = product(m_.value_of(TensorRole::kRouter, layer), x);
    if (s_.gating == Gating::kSoftmax) softmax(p);
    if (s_.gating == Gating::kSigmoid)
      for (double& value : p) value = sigmoid(value);
    Vector key = p;
    if (m_.has(TensorRole::kRouterSelectionBias, layer))
      for (size_t e = 0; e < key.size(); ++e)
        key[e] += m_.value_of(TensorRole::kRouterSelectionBias, layer)[e];
    std::vector<uint32_t> order(p.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return key[a] > key[b]; });
    order.resize(s_.n_expert_used);
    Vector weights;
    for (const uint32_t e : order) weights.push_back(p[e]);
    if (s_.gating == Gating::kSoftmaxAfterTopK) softmax(weights);
    if (s_.gating_normalised) {
      const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
      for (double& weight : weights) weight /= sum;
    }
    Vector y(x.size(), 0.0);
    for (uint32_t rank = 0; rank < s_.n_expert_used; ++rank) {
      const Vector row = expert(x, layer, order[rank]);
      for (size_t i = 0; i < y.size(); ++i)
        y[i] += weights[rank] * s_.expert_weights_scale * row[i];
    }
    if (s_.n_ff_shared == 0) return y;
    const Vector shared = product(m_.value_of(TensorRole::kSharedDown, layer),
                                  gated(product(m_.value_of(TensorRole::kSharedGate, layer), x),
                                        product(m_.value_of(TensorRole::kSharedUp, layer), x)));
    const double share = m_.has(TensorRole::kSharedRouter, layer)
                             ? sigmoid(product(m_.value_of(TensorRole::kSharedRouter, layer), x)[0])
                             : 1.0;
    for (size_t i = 0; i < y.size(); ++i) y[i] += share * shared[i];
    return y;
  }

  const TinyModel& m_;
  const ModelSpec& s_;
  uint32_t position_ = 0;
  std::vector<std::vector<Vector>> keys_, values_;  // [layer][position]
};

}  // namespace hypura::model
