#include "native/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "native/base/hot_path_guard.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

// Exponents below this are zero as floats anyway; keeps a tiny temperature from making infinities.
constexpr float kExponentMin = -1000.0f;
// Candidates that are put in order first; most draws end among them.
constexpr uint32_t kRankStep = 64;

// Natural logarithm of a finite x > 0 by IEEE operations alone: a libm's last bit may differ between CPUs.
// x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172, so eleven odd powers
// leave less than 1e-18.
double natural_log(double x) {
  constexpr double kLog2 = 0.69314718055994530942;
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // [1/2, 1): exact
  if (mantissa < 0.70710678118654752440) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;
  double series = 0;
  for (int power = 21; power >= 1; power -= 2) series = series * square + 1.0 / power;
  return exponent * kLog2 + 2 * s * series;
}

// Finaliser of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

Status outside(const char* name, double found, const char* allowed) {
  return Status::error(Code::kInvalidArgument, text(name, " is ", found, ", it must be ", allowed));
}

}  // namespace

Status check_sampling(const Sampling& s) {
  if (!(s.temperature >= 0) || !std::isfinite(s.temperature))
    return outside("temperature", s.temperature, "finite and at least 0");
  if (!(s.top_p > 0 && s.top_p <= 1)) return outside("topP", s.top_p, "above 0 and at most 1");
  if (!(s.min_p >= 0 && s.min_p <= 1)) return outside("minP", s.min_p, "between 0 and 1");
  if (!(s.repeat_penalty > 0) || !std::isfinite(s.repeat_penalty))
    return outside("repeatPenalty", s.repeat_penalty, "finite and above 0");
  if (s.repeat_last_n < -1) return outside("repeatLastN", s.repeat_last_n, "-1 or more");
  if (!std::isfinite(s.frequency_penalty))
    return outside("frequencyPenalty", s.frequency_penalty, "finite");
  if (!std::isfinite(s.presence_penalty))
    return outside("presencePenalty", s.presence_penalty, "finite");
  return {};
}

double uniform_at(uint32_t seed, uint32_t position) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15u;
  const uint64_t stream = mix((uint64_t{seed} + 1) * kGolden);
  return static_cast<double>(mix(stream + (uint64_t{position} + 1) * kGolden) >> 11) * 0x1p-53;
}

Sampler::Sampler(uint32_t n_vocab, const kernels::KernelSet* kernels, Carver& carver)
    : n_vocab_(n_vocab),
      kernels_(kernels),
      logits_(carver.take<float>(n_vocab)),
      probabilities_(carver.take<float>(n_vocab)),
      weights_(carver.take<float>(n_vocab)),
      ranked_(carver.take<uint32_t>(n_vocab)),
      counts_(carver.take<uint32_t>(n_vocab)) {
  if (counts_ != nullptr) std::memset(counts_, 0, n_vocab * sizeof(uint32_t));
}

Result<Choice> Sampler::choose(const Sampling& sampling, std::span<const uint32_t> history,
                               uint32_t position) {
  penalise(sampling, history);
  best_ = 0;
  bool finite = true;
  for (uint32_t id = 0; id < n_vocab_; ++id) {
    finite = finite && std::isfinite(logits_[id]);
    if (logits_[id] > logits_[best_]) best_ = id;
  }
  if (!finite) {
    const HotPathPause pause;
    return Status::error(Code::kNonFinite,
                         "a logit is NaN or infinite: the weights or the penalties are broken");
  }

  std::memcpy(probabilities_, logits_, n_vocab_ * sizeof(float));
  kernels_->softmax(probabilities_, n_vocab_);
  uint32_t token = best_;
  if (sampling.temperature > 0) {
    n_ranked_ = 0;
    for (uint32_t id = 0; id < n_vocab_; ++id) ranked_[id] = id;
    token = draw(sampling, kept_candidates(sampling), uniform_at(sampling.seed, position));
  }
  // log p = (logit - largest) + log p(largest): p itself may have become 0.
  const double log_probability =
      (static_cast<double>(logits_[token]) - logits_[best_]) + natural_log(probabilities_[best_]);
  return Choice{.token = token, .log_probability = static_cast<float>(log_probability)};
}

// For each token of the window: a positive logit is divided by repeat_penalty, another one multiplied; then the frequency
// penalty comes off once per use and the presence penalty once.
void Sampler::penalise(const Sampling& sampling, std::span<const uint32_t> history) {
  const bool off = sampling.repeat_penalty == 1 && sampling.frequency_penalty == 0 &&
                   sampling.presence_penalty == 0;
  if (off || sampling.repeat_last_n == 0) return;
  if (sampling.repeat_last_n > 0 && history.size() > static_cast<uint32_t>(sampling.repeat_last_n))
    history = history.last(static_cast<uint32_t>(sampling.repeat_last_n));
  for (uint32_t token : history) ++counts_[token];
  for (uint32_t token : history) {
    const uint32_t uses = counts_[token];
    if (uses == 0) continue;
    counts_[token] = 0;
    float& logit = logits_[token];
    logit = logit > 0 ? logit / sampling.repeat_penalty : logit * sampling.repeat_penalty;
    logit =
        logit - static_cast<float>(uses) * sampling.frequency_penalty - sampling.presence_penalty;
  }
}

// Makes ranked_[0 .. count) the best candidates in order, a step further than before where that is not enough.
void Sampler::rank(uint32_t count) {
  if (count <= n_ranked_) return;
  const uint32_t wanted = std::min(n_vocab_, std::max({count, kRankStep, 2 * n_ranked_}));
  const auto better = [this](uint32_t a, uint32_t b) {
    return logits_[a] != logits_[b] ? logits_[a] > logits_[b] : a < b;
  };
  std::nth_element(ranked_ + n_ranked_, ranked_ + wanted - 1, ranked_ + n_vocab_, better);
  std::sort(ranked_ + n_ranked_, ranked_ + wanted, better);
  n_ranked_ = wanted;
}

// How many of the best candidates stay: each filter keeps a prefix of the order, so their conjunction is one, too.
uint32_t Sampler::kept_candidates(const Sampling& sampling) {
  uint32_t kept = sampling.top_k == 0 ? n_vocab_ : std::min(sampling.top_k, n_vocab_);
  if (sampling.top_p < 1) {
    double mass = 0;  // of the candidates that top-k left
    if (kept == n_vocab_) {
      for (uint32_t id = 0; id < n_vocab_; ++id) mass += probabilities_[id];
    } else {
      rank(kept);
      for (uint32_t i = 0; i < kept; ++i) mass += probabilities_[ranked_[i]];
    }
    double covered = 0;
    uint32_t i = 0;
    while (i < kept && (i == 0 || covered < static_cast<double>(sampling.top_p) * mass)) {
      rank(i + 1);
      covered += probabilities_[ranked_[i++]];
    }
    kept = i;
  }
  if (sampling.min_p > 0) {
    const double least = logits_[best_] + natural_log(sampling.min_p);
    uint32_t i = 1;
    for (; i < kept; ++i) {
      rank(i + 1);
      if (logits_[ranked_[i]] < least) break;
    }
    kept = std::min(kept, i);
  }
  return kept;
}

// Walks the order until the cumulated weight passes uniform x total.
uint32_t Sampler::draw(const Sampling& sampling, uint32_t kept, double uniform) {
  const bool all =
      kept == n_vocab_;  // then weights_ is by id, and only as much is ordered as the walk needs
  if (!all) rank(kept);
  for (uint32_t i = 0; i < kept; ++i) {
    const float below = logits_[all ? i : ranked_[i]] - logits_[best_];
    weights_[i] = std::max(below / sampling.temperature, kExponentMin);
  }
  kernels_->softmax(weights_, kept);
  double total = 0;
  for (uint32_t i = 0; i < kept; ++i) total += weights_[i];

  const double target = uniform * total;
  double passed = 0;
  uint32_t last = ranked_[0];
  for (uint32_t i = 0; i < kept; ++i) {
    rank(i + 1);
    const float weight = weights_[all ? ranked_[i] : i];
    if (weight == 0) break;  // rounding left the target behind the last candidate that can be drawn
    last = ranked_[i];
    passed += weight;
    if (passed > target) break;
  }
  return last;
}

}  // namespace hypura::runtime
