// From one row of logits to one token: penalties, top-k, top-p, min-p, temperature, one draw.
//
// The same logits, history and options give the same token on every machine: candidates are ordered by (logit descending,
// id ascending), exponentials come from the kernel set, logarithms are our own, and the random number of a position is a
// function of (seed, position) alone, so that text depends neither on chunking nor on how often a request was resumed.
// Thread: token loop only.   Allocates: never; memory is handed in once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "native/base/status.h"
#include "native/kernels/kernel_set.h"
#include "native/runtime/carver.h"

namespace hypura::runtime {

// Off: temperature 0 (greedy), top_k 0, top_p 1, min_p 0, repeat_penalty 1, the other penalties 0.
struct Sampling {
  float temperature = 0;
  uint32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repeat_penalty = 1;
  int32_t repeat_last_n = 0;  // window of the penalties in tokens; 0: off, -1: whole history
  float frequency_penalty = 0;
  float presence_penalty = 0;
  uint32_t seed = 0;
};

// Error: kInvalidArgument naming the option and its range.
Status check_sampling(const Sampling& sampling);

struct Choice {
  uint32_t token = 0;
  // Natural logarithm of the token's probability in the full distribution: after penalties, before truncation and
  // temperature.
  float log_probability = 0;
};

// Uniform in [0, 1): the draw of one position of a request with this seed. Fixed for ever: texts depend on it.
double uniform_at(uint32_t seed, uint32_t position);

class Sampler {
 public:
  // Takes its buffers from `carver`; with a carver that only counts, the sampler is a measure and must not be used.
  Sampler(uint32_t n_vocab, const kernels::KernelSet* kernels, Carver& carver);

  // Where the row to choose from is written; choose() changes it.
  std::span<float> row() const { return {logits_, n_vocab_}; }

  // history: the sequence's tokens so far, oldest first; ids are below n_vocab. position: that of the chosen token.
  // Error: kNonFinite when the row holds NaN or an infinity.
  Result<Choice> choose(const Sampling& sampling, std::span<const uint32_t> history,
                        uint32_t position);

 private:
  void penalise(const Sampling& sampling, std::span<const uint32_t> history);
  void rank(uint32_t count);
  uint32_t kept_candidates(const Sampling& sampling);
  uint32_t draw(const Sampling& sampling, uint32_t kept, double uniform);

  uint32_t n_vocab_;
  const kernels::KernelSet* kernels_;
  float* logits_;         // (n_vocab)
  float* probabilities_;  // (n_vocab) of the full distribution
  float* weights_;        // (n_vocab) of the kept candidates at the request's temperature
  uint32_t* ranked_;      // (n_vocab) ids; the first n_ranked_ are the best ones in order
  uint32_t* counts_;      // (n_vocab) uses inside the penalties' window; all 0 between calls
  uint32_t n_ranked_ = 0;
  uint32_t best_ = 0;
};

}  // namespace hypura::runtime
