// What could break: two buffers of a sweep overlap, one leaves the memory given, or the announced size is not the used one.
// How we notice: every buffer is filled to its documented shape with a mark of its own, then all marks are checked; the
// memory is exactly as large as announced, so that the address sanitizer sees the rest.
#include "native/model/scratch.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "native/base/testing.h"

namespace hypura::model {
namespace {

constexpr uint32_t kBatch = 7, kRows = 2, kThreads = 3;

ModelSpec scratch_spec() {
  ModelSpec spec{};
  spec.n_layer = 2;
  spec.n_embd = 96;
  spec.n_head = 4;
  spec.n_head_kv = 2;
  spec.head_dim_k = 24;
  spec.head_dim_v = 40;
  spec.n_ff = 192;
  spec.n_vocab = 101;
  spec.n_expert = 5;
  spec.n_expert_used = 2;
  spec.n_ff_expert = 64;
  spec.n_ff_shared = 32;
  spec.n_rot = 16;
  return spec;
}

void expect_no_overlap(uint32_t batch) {
  const ModelSpec spec = scratch_spec();
  const uint64_t bytes = scratch_bytes(spec, batch, kRows, kThreads);
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(64, bytes)), &std::free);
  const auto carved = Scratch::carve({memory.get(), bytes}, spec, batch, kRows, kThreads);
  ASSERT(carved.ok());
  const Scratch& s = carved.value();
  // The experts of one position at least.
  const uint32_t mid_rows = std::max(batch, 2u);
  EXPECT_EQ(s.n_mid_rows, mid_rows);

  struct Buffer {
    std::byte* data;
    uint64_t bytes;
  };
  std::vector<Buffer> buffers;
  const auto add = [&](auto* data, uint64_t count) {
    buffers.push_back({reinterpret_cast<std::byte*>(data), count * sizeof(*data)});
  };
  const auto add_rows = [&](const ActivationRows& rows, uint32_t n_rows, uint32_t width) {
    for (uint32_t form = 0; form < kernels::kActivationForms; ++form) {
      EXPECT(rows.stride_bytes[form] >=
             activation_bytes(static_cast<kernels::ActivationForm>(form), width));
      add(rows.data[form], n_rows * rows.stride_bytes[form]);
    }
  };
  add(s.x, batch * 96);
  add(s.block_out, batch * 96);
  add(s.q, batch * 4 * 24);
  add(s.k, batch * 2 * 24);
  add(s.v, batch * 2 * 40);
  add(s.attention_out, batch * 4 * 40);
  add(s.gate, mid_rows * 192);
  add(s.up, mid_rows * 192);
  add(s.cosines, batch * 8);
  add(s.sines, batch * 8);
  add(s.logits, kRows * 101);
  add(s.thread_row, kThreads * s.thread_row_floats);
  add_rows(s.input, batch, 160);
  add_rows(s.mid, mid_rows, 192);
  add(s.entries, batch);
  add(s.blocks, std::max(batch, 5u));
  add_rows(s.gathered, mid_rows, 96);
  add(s.router, batch * 5);
  add(s.selection, kThreads * 5);
  add(s.shared_gate, batch);
  add(s.expert_rows, batch * 2 * 96);
  add(s.chosen, batch * 2);
  add(s.weights, batch * 2);
  add(s.row_of, batch * 2);
  add(s.entry_of, batch * 2);
  add(s.first_row, 7);
  add(s.expert_union, 5);
  EXPECT(s.thread_row_floats >= 96);

  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffers[i].data) % 64, 0u);
    std::memset(buffers[i].data, static_cast<int>(i + 1), buffers[i].bytes);
  }
  for (size_t i = 0; i < buffers.size(); ++i)
    for (uint64_t b = 0; b < buffers[i].bytes; ++b)
      ASSERT(buffers[i].data[b] == static_cast<std::byte>(i + 1));
}

TEST(scratch_buffers_never_overlap) {
  expect_no_overlap(kBatch);
  expect_no_overlap(1);
}

TEST(scratch_refuses_one_byte_too_few) {
  const ModelSpec spec = scratch_spec();
  const uint64_t bytes = scratch_bytes(spec, kBatch, kRows, kThreads);
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(64, bytes)), &std::free);
  EXPECT(Scratch::carve({memory.get(), bytes - 1}, spec, kBatch, kRows, kThreads).status().code() ==
         Code::kInsufficientMemory);
}

TEST(scratch_size_never_wraps) {
  ModelSpec spec = scratch_spec();
  spec.n_vocab = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(scratch_bytes(spec, 512, std::numeric_limits<uint32_t>::max(), 256),
            std::numeric_limits<uint64_t>::max());
}

}  // namespace
}  // namespace hypura::model
