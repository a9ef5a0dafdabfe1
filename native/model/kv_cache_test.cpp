// What could break: two positions, heads, layers or sequences share bytes, a row leaves the memory given, or the kernel's
// view disagrees with where rows were written. How we notice: every half of every row gets its own number, and all are read
// back through KvView by the layout that kernel_set.h documents.
#include "native/model/kv_cache.h"

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/kernels/kv_rows.h"

namespace hypura::model {
namespace {

using kernels::KvType;

ModelSpec kv_spec() {
  ModelSpec spec{};
  spec.n_layer = 2;
  spec.n_head_kv = 3;
  spec.head_dim_k = 4;
  spec.head_dim_v = 6;
  return spec;
}

struct AlignedMemory {
  explicit AlignedMemory(uint64_t bytes)
      : data(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), &std::free),
        size(bytes) {}
  std::span<std::byte> span() const { return {data.get(), size}; }
  std::unique_ptr<std::byte, decltype(&std::free)> data;
  uint64_t size;
};

TEST(kv_size_is_whole_pages_and_never_wraps) {
  EXPECT_EQ(KvCache::kv_bytes(kv_spec(), 300, 2), uint64_t{2 * 2 * 2} * 256 * 3 * (4 + 6) * 2);
  EXPECT_EQ(KvCache::kv_bytes(kv_spec(), 256, 1), uint64_t{2} * 256 * 3 * (4 + 6) * 2);
  ModelSpec huge = kv_spec();
  huge.n_layer = huge.n_head_kv = huge.head_dim_k = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(KvCache::kv_bytes(huge, 1u << 31, 64), std::numeric_limits<uint64_t>::max());
}

TEST(kv_rows_are_where_the_view_says_and_never_shared) {
  constexpr uint32_t kContext = 300, kSequences = 2;
  const ModelSpec spec = kv_spec();
  // On the heap to the byte: the address sanitizer sees a row that leaves it.
  AlignedMemory memory(KvCache::kv_bytes(spec, kContext, kSequences));
  auto created = KvCache::create(spec, kContext, kSequences, memory.span());
  ASSERT(created.ok());
  KvCache& kv = created.value();

  const auto halves = [](std::byte* row) { return reinterpret_cast<uint16_t*>(row); };
  const auto number = [&](uint32_t s, uint32_t l, uint32_t h, uint32_t p, uint32_t d) {
    return static_cast<uint16_t>((((s * 2 + l) * 3 + h) * kContext + p) * 10 + d);
  };
  for (uint32_t s = 0; s < kSequences; ++s)
    for (uint32_t l = 0; l < spec.n_layer; ++l)
      for (uint32_t h = 0; h < spec.n_head_kv; ++h)
        for (uint32_t p = 0; p < kContext; ++p) {
          for (uint32_t d = 0; d < 4; ++d) halves(kv.k_row(s, l, h, p))[d] = number(s, l, h, p, d);
          for (uint32_t d = 0; d < 6; ++d) halves(kv.v_row(s, l, h, p))[d] = number(s, l, h, p, 4 + d);
        }
  bool equal = true;
  for (uint32_t s = 0; s < kSequences; ++s)
    for (uint32_t l = 0; l < spec.n_layer; ++l)
      for (uint32_t h = 0; h < spec.n_head_kv; ++h) {
        const kernels::KvView view = kv.view(s, l, h);
        for (uint32_t p = 0; p < kContext; ++p) {
          const auto* page = static_cast<const std::byte*>(view.pages[p / kPositionsPerPage]);
          const auto* k = reinterpret_cast<const uint16_t*>(page + view.k_offset_bytes) +
                          p % kPositionsPerPage * view.head_dim_k;
          const auto* v = reinterpret_cast<const uint16_t*>(page + view.v_offset_bytes) +
                          p % kPositionsPerPage * view.head_dim_v;
          for (uint32_t d = 0; d < 4; ++d) equal = equal && k[d] == number(s, l, h, p, d);
          for (uint32_t d = 0; d < 6; ++d) equal = equal && v[d] == number(s, l, h, p, 4 + d);
        }
      }
  EXPECT(equal);
}

// Every row of each mixture of types is filled with its own byte, to the last one of the memory.
TEST(kv_rows_of_q8_0_are_never_shared) {
  ModelSpec spec = kv_spec();
  spec.head_dim_k = 64;
  spec.head_dim_v = 32;
  for (const auto& [types, row_bytes] : {std::pair(KvTypes{KvType::kQ8_0, KvType::kQ8_0}, 68u + 34u),
                                         std::pair(KvTypes{KvType::kQ8_0, KvType::kF16}, 68u + 64u),
                                         std::pair(KvTypes{KvType::kF16, KvType::kQ8_0}, 128u + 34u)}) {
    const uint64_t bytes = KvCache::kv_bytes(spec, 512, 1, types);
    EXPECT_EQ(bytes, uint64_t{2 * 2} * 256 * 3 * row_bytes);
    AlignedMemory memory(bytes);
    std::memset(memory.data.get(), 0, bytes);
    auto created = KvCache::create(spec, 512, 1, memory.span(), types);
    ASSERT(created.ok());
    KvCache& kv = created.value();
    uint64_t written = 0;
    for (uint32_t l = 0; l < spec.n_layer; ++l)
      for (uint32_t h = 0; h < spec.n_head_kv; ++h) {
        const kernels::KvView view = kv.view(0, l, h);
        EXPECT(view.k_type == types.k && view.v_type == types.v);
        for (uint32_t p = 0; p < 512; ++p) {
          const auto* page = static_cast<const std::byte*>(view.pages[p / kPositionsPerPage]);
          const uint32_t in_page = p % kPositionsPerPage;
          const uint64_t k_bytes = kernels::kv_row_bytes(types.k, 64);
          const uint64_t v_bytes = kernels::kv_row_bytes(types.v, 32);
          EXPECT(kv.k_row(0, l, h, p) == page + view.k_offset_bytes + in_page * k_bytes);
          EXPECT(kv.v_row(0, l, h, p) == page + view.v_offset_bytes + in_page * v_bytes);
          for (uint64_t i = 0; i < k_bytes; ++i) written += kv.k_row(0, l, h, p)[i] == std::byte{0};
          for (uint64_t i = 0; i < v_bytes; ++i) written += kv.v_row(0, l, h, p)[i] == std::byte{0};
          std::memset(kv.k_row(0, l, h, p), 1, k_bytes);
          std::memset(kv.v_row(0, l, h, p), 1, v_bytes);
        }
      }
    EXPECT_EQ(written, bytes);  // each byte of the memory was written once
  }
}

TEST(kv_refuses_heads_that_q8_0_cannot_store) {
  AlignedMemory memory(1 << 20);
  const auto code = [&](KvTypes types) {
    return KvCache::create(kv_spec(), 256, 1, memory.span(), types).status().code();
  };
  EXPECT(code({KvType::kQ8_0, KvType::kF16}) == Code::kUnsupported);
  EXPECT(code({KvType::kF16, KvType::kQ8_0}) == Code::kUnsupported);
}

TEST(kv_truncate_only_shortens) {
  const ModelSpec spec = kv_spec();
  AlignedMemory memory(KvCache::kv_bytes(spec, 256, 2));
  auto created = KvCache::create(spec, 256, 2, memory.span());
  ASSERT(created.ok());
  KvCache& kv = created.value();
  kv.set_length(1, 100);
  kv.truncate(1, 200);
  EXPECT_EQ(kv.length(1), 100u);
  kv.truncate(1, 30);
  EXPECT_EQ(kv.length(1), 30u);
  EXPECT_EQ(kv.length(0), 0u);
}

TEST(kv_refuses_too_little_memory) {
  AlignedMemory memory(64);
  EXPECT(KvCache::create(kv_spec(), 256, 1, memory.span()).status().code() ==
         Code::kInsufficientMemory);
  EXPECT(KvCache::create(kv_spec(), 0, 1, memory.span()).status().code() == Code::kInvalidArgument);
}

}  // namespace
}  // namespace hypura::model
