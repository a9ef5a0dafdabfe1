#include "native/scheduler/guesses.h"

#include <algorithm>

namespace hypura::scheduler {
namespace {

// Reads that trust is judged by: the last 128 or so, the older the less.
constexpr double kTrustDecay = 1.0 - 1.0 / 128;
constexpr double kTrustEvidence = 32;
constexpr double kTrustShare = 0.5;

}  // namespace

Guesses::Guesses(const BlockHulls& hulls, PoolRequest& experts, CacheLog& log, uint64_t slot_bytes,
                 uint32_t n_experts)
    : hulls_(hulls),
      experts_(experts),
      log_(log),
      n_experts_(n_experts),
      credit_most_bytes_(static_cast<double>(kWasteBlocksMax * slot_bytes)),
      asked_in_(hulls.table().size(), 0) {
  for (Account& account : accounts_) account.credit_bytes = credit_most_bytes_;
  guesses_.reserve(kGuessesMax);
}

void Guesses::begin_sweep(const Plan& plan, bool prefill) {
  expire();
  for (Account& account : accounts_)
    if (account.rest_sweeps > 0) --account.rest_sweeps;
  mode_ = plan.guess_mode;
  source_ = plan.guess_source;
  most_ = plan.guesses_max;
  resting_ = prefill;
  score_ = {};
}

void Guesses::end_sweep() {
  expire();
  if (score_.asked > 0) log_.guessed(mode_, source_, score_);
  score_ = {};
}

uint32_t Guesses::wanted() const {
  const bool all_fit = experts_.pool().limit() >= n_experts_;
  return mode_ == GuessMode::kOff || resting_ || all_fit ? 0 : most_;
}

void Guesses::guess(std::span<const BlockId> blocks) {
  expire();
  for (const BlockId block : blocks.first(std::min<size_t>(blocks.size(), kGuessesMax))) {
    guesses_.push_back({.block = block});
    if (mode_ >= GuessMode::kRetain) experts_.guard(block, true);
  }
  if (mode_ != GuessMode::kPrefetch || account().rest_sweeps > 0) return;
  for (Guess& guess : guesses_) {
    const auto bytes = static_cast<double>(hulls_.hull_bytes(guess.block));
    if (account().credit_bytes < bytes || !experts_.read_ahead(guess.block)) continue;
    guess.read = true;
    account().credit_bytes -= bytes;
    experts_.guard(guess.block, true);
  }
}

void Guesses::judge(std::span<const BlockId> asked) {
  if (guesses_.empty()) return;
  take_back_unbegun();
  ++number_;
  for (const BlockId block : asked) {
    asked_in_[index_of(block)] = number_;
    if (experts_.has(block)) continue;
    ++score_.absent;
    account().credit_bytes += kWasteShare * static_cast<double>(hulls_.hull_bytes(block));
  }
  for (Guess& guess : guesses_) {
    guess.correct = asked_in_[index_of(guess.block)] == number_;
    score_.correct += guess.correct;
    score_.correct_absent += guess.correct && !experts_.has(guess.block);
    if (!guess.read) continue;
    const uint64_t bytes = hulls_.hull_bytes(guess.block);
    Account& own = account();
    own.recent_reads = own.recent_reads * kTrustDecay + 1;
    own.recent_used = own.recent_used * kTrustDecay + (guess.correct ? 1 : 0);
    if (guess.correct) own.credit_bytes += static_cast<double>(bytes);
    log_.read_ahead(bytes, guess.correct);
  }
  score_.asked += static_cast<uint32_t>(asked.size());
  score_.guessed += static_cast<uint32_t>(guesses_.size());
  Account& own = account();
  own.credit_bytes = std::min(own.credit_bytes, credit_most_bytes_);
  if (own.recent_reads >= kTrustEvidence && own.recent_used < kTrustShare * own.recent_reads) {
    own.rest_sweeps = kRestSweeps;
    own.recent_reads = own.recent_used = 0;
  }
  expire();
}

// Reads that have not begun cost nothing: those that are asked for become demand reads.
void Guesses::take_back_unbegun() {
  for (Guess& guess : guesses_) {
    if (!guess.read || !experts_.drop_read_ahead(guess.block)) continue;
    guess.read = false;
    account().credit_bytes += static_cast<double>(hulls_.hull_bytes(guess.block));
  }
}

void Guesses::expire() {
  take_back_unbegun();
  for (const Guess& guess : guesses_) experts_.guard(guess.block, false);
  guesses_.clear();
}

}  // namespace hypura::scheduler
