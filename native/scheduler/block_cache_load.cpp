// Filling memory before the first sweep: trunk, pinned stack, the experts or row bands when there is a slot for each, and else
// the experts that the first plan knows to be used most.
#include <algorithm>
#include <tuple>

#include "native/scheduler/block_cache_state.h"

namespace hypura::scheduler {

void BlockCache::State::load_completed(uint32_t fetch, Completed what) {
  const LoadJob& job = jobs[job_of_fetch[fetch - fetches.load]];
  if (what == Completed::kFailed) {
    log.failed(job.block, io->outcome(fetch));
    if (!job.spare && !load_failure) load_failure = io->outcome(fetch);
    return;
  }
  free_fetches.push_back(fetch);
  if (what == Completed::kReturned) {
    if (job.spare) experts.pool().give_back(job.slot);
    return;
  }
  if (!filling())
    log.counters.load_bytes.fetch_add(hulls.hull_bytes(job.block), std::memory_order_relaxed);
  const BlockKind kind = table[job.block].kind;
  if (kind == BlockKind::kExpert) experts.pool().set_ready(job.slot);
  if (kind == BlockKind::kRowBand) rows.pool().set_ready(job.slot);
}

void BlockCache::State::queue_jobs(ReadClass read_class) {
  while (next_job < jobs.size() && !free_fetches.empty()) {
    const uint32_t fetch = free_fetches.back();
    if (!io->queue(fetch, jobs[next_job].block, jobs[next_job].into, read_class)) break;
    free_fetches.pop_back();
    job_of_fetch[fetch - fetches.load] = static_cast<uint32_t>(next_job++);
  }
  io->kick();
}

bool BlockCache::State::add_pool_jobs(BlockKind kind, SlotPool& pool) {
  std::vector<BlockId> blocks;
  for (uint32_t i = 0; i < table.size(); ++i)
    if (table[BlockId{i}].kind == kind) blocks.push_back(BlockId{i});
  if (pool.size() < blocks.size()) return false;
  for (const BlockId block : blocks) add_pool_job(pool, block, 0, false);
  return true;
}

void BlockCache::State::add_warm_jobs(const Plan& plan) {
  SlotPool& pool = experts.pool();
  for (const BlockId block : plan.warm) {
    if (pool.free_count() == 0) return;
    if (!pool.find(block)) add_pool_job(pool, block, score_in(plan, block), true);
  }
}

void BlockCache::State::add_pool_job(SlotPool& pool, BlockId block, double score, bool spare) {
  const SlotId slot = pool.take()->slot;
  pool.assign(slot, block, score, 0);
  jobs.push_back({.block = block, .into = pool.bytes(slot).data(), .slot = slot, .spare = spare});
}

Status BlockCache::load(const Plan& plan, const std::atomic<bool>& cancelled) {
  if (fixed_) return {};
  State& s = *state_;
  for (uint32_t i = 0; i < s.table.size(); ++i) {
    const BlockId id{i};
    if (s.data[i] == nullptr) continue;
    auto* into = const_cast<std::byte*>(s.data[i]) - s.hulls.hull(id, 0).lead_bytes;
    s.jobs.push_back({.block = id, .into = into});
  }
  if (!s.add_pool_jobs(BlockKind::kExpert, s.experts.pool())) s.add_warm_jobs(plan);
  s.add_pool_jobs(BlockKind::kRowBand, s.rows.pool());
  // In the order of the file, which is what drives like best.
  std::sort(s.jobs.begin(), s.jobs.end(), [&](const State::LoadJob& a, const State::LoadJob& b) {
    const Extent &left = s.table.extents(a.block)[0], &right = s.table.extents(b.block)[0];
    return std::tie(left.file, left.offset_bytes) < std::tie(right.file, right.offset_bytes);
  });
  uint64_t total = 0;
  for (const State::LoadJob& job : s.jobs) total += s.hulls.hull_bytes(job.block);
  s.log.counters.load_bytes_total.store(total, std::memory_order_relaxed);

  while (true) {
    const uint64_t heard = s.io->bell().rings();
    s.pump();
    if (s.load_failure) return s.error_of(*s.load_failure);
    if (cancelled.load(std::memory_order_relaxed))
      return Status::error(Code::kCancelled, "loading was cancelled");
    s.queue_jobs(ReadClass::kDemand);
    if (s.jobs_over()) return {};
    s.io->bell().wait(heard, std::chrono::milliseconds(10));
  }
}

}  // namespace hypura::scheduler
