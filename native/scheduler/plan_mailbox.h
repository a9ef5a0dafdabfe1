// Hand-over of plans: the JavaScript thread submits, the token loop takes the newest at the beginning of a sweep.
//
// Why like this: the loop must neither wait for a lock nor free memory, so a plan changes hands by one atomic exchange,
// the newest wins, and what the loop is done with goes back through a lock-free list that the submitting side empties.
// Holds always: the plan that take() returned stays alive until the second take() after it that finds a newer one, so
// whoever still looks at it while the next sweep begins (BlockCache::begin_sweep) looks at living memory.
// Threads: submit() by one thread at a time, take() by the token loop; the destructor by anyone once both are done.
// Allocates: in the constructor and in submit().
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "native/base/status.h"
#include "native/scheduler/plan.h"

namespace hypura::scheduler {

class PlanMailbox {
 public:
  // The plan that is in force until one is submitted.
  explicit PlanMailbox(std::unique_ptr<const Plan> first)
      : newest_number_(first->sequence_number), current_(new Node{std::move(first), nullptr}) {}
  PlanMailbox(const PlanMailbox&) = delete;
  PlanMailbox& operator=(const PlanMailbox&) = delete;
  ~PlanMailbox() {
    free_retired();
    delete incoming_.load(std::memory_order_acquire);
    delete previous_;
    delete current_;
  }

  // Publishes a decoded plan and frees retired ones. kBadPlan when its number does not rise: it was overtaken.
  Status submit(std::unique_ptr<const Plan> plan) {
    free_retired();
    if (plan->sequence_number <= newest_number_)
      return Status::at(Code::kBadPlan, offsetof(PlanHeader, sequence_number),
                        "plan " + std::to_string(plan->sequence_number) + " is not newer than " +
                            std::to_string(newest_number_));
    newest_number_ = plan->sequence_number;
    // Release pairs with take(). What comes back was never taken: it is ours again.
    delete incoming_.exchange(new Node{std::move(plan), nullptr}, std::memory_order_acq_rel);
    return {};
  }

  // Token loop only, once at the beginning of each sweep.
  const Plan& take() {
    if (Node* incoming = incoming_.exchange(nullptr, std::memory_order_acq_rel)) {
      if (previous_ != nullptr) retire(previous_);
      previous_ = current_;
      current_ = incoming;
    }
    return *current_->plan;
  }

 private:
  struct Node {
    std::unique_ptr<const Plan> plan;
    Node* next;
  };

  void retire(Node* node) {
    node->next = retired_.load(std::memory_order_relaxed);
    // Pairs with the exchange in free_retired(), which takes the whole list: no node can come back, so no ABA.
    while (!retired_.compare_exchange_weak(node->next, node, std::memory_order_release,
                                           std::memory_order_relaxed)) {
    }
  }
  void free_retired() {
    Node* node = retired_.exchange(nullptr, std::memory_order_acquire);
    while (node != nullptr) delete std::exchange(node, node->next);
  }

  std::atomic<Node*> incoming_{nullptr};
  std::atomic<Node*> retired_{nullptr};
  uint32_t newest_number_;    // submitting side
  Node* current_;             // token loop
  Node* previous_ = nullptr;  // token loop
};

}  // namespace hypura::scheduler
