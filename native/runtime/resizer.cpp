#include "native/runtime/resizer.h"

#include <algorithm>
#include <utility>

#include "native/runtime/text.h"

namespace hypura::runtime {

using scheduler::ResizeProgress;

void Resizer::begin(std::shared_ptr<ResizeJob> job) {
  finish({});
  job_ = std::move(job);
  Status status = parts_.cache.set_division(job_->division);
  if (status.ok()) {
    // The cache checked that no sum wraps: the division fits into its regions.
    const uint64_t placed = parts_.cache.division_bytes(job_->division) + parts_.beside_bytes;
    if (placed > job_->budget_bytes || job_->budget_bytes > parts_.loaded_bytes)
      status = Status::error(Code::kInvalidArgument,
                             text("a budget of ", job_->budget_bytes, " bytes: its division places ",
                                  placed, ", loaded were ", parts_.loaded_bytes));
  }
  if (!status.ok()) {
    (void)parts_.cache.set_division(parts_.cache.division());
    return finish(std::move(status));
  }
  const uint64_t now = parts_.budget_bytes.load(std::memory_order_relaxed);
  parts_.budget_bytes.store(std::max(now, job_->budget_bytes), std::memory_order_relaxed);
}

ResizeProgress Resizer::step() {
  Result<ResizeProgress> progress = parts_.cache.resize_step();
  if (!progress.ok()) {
    parts_.budget_bytes.store(backed_bytes(), std::memory_order_relaxed);
    finish(progress.status());
    return ResizeProgress::kDone;
  }
  if (progress.value() == ResizeProgress::kDone) {
    parts_.budget_bytes.store(std::max(job_->budget_bytes, backed_bytes()),
                              std::memory_order_relaxed);
    finish({});
  }
  return progress.value();
}

// What the arena's pages take: more than is placed, where a huge page is half empty.
uint64_t Resizer::backed_bytes() const {
  return parts_.arena_bytes -
         parts_.cache.counters().given_back_bytes.load(std::memory_order_relaxed);
}

void Resizer::finish(Status status) {
  if (job_ == nullptr) return;
  const std::shared_ptr<ResizeJob> job = std::exchange(job_, nullptr);
  job->status = std::move(status);
  job->in_force_bytes = parts_.budget_bytes.load(std::memory_order_relaxed);
  job->done.store(true, std::memory_order_release);
  parts_.job_done();
}

}  // namespace hypura::runtime
