// What could break: a chunk border off by one, merges in another order, a head of the group that
// reads its neighbour's query or scores, tails of odd head sizes, scratch used past its promised
// size. How we notice: sets compared bit for bit around the borders of 256 positions and for every
// group size; a plain softmax in double over all keys as second opinion; and the group's result
// equal to each head computed alone.
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/kernels/kernel_set.h"

namespace hypura::kernels {
namespace {

constexpr float kGuard = -98765.0f;

struct Cache {
  std::vector<std::vector<uint16_t>> pages;
  std::vector<const void*> table;
  std::vector<float> k, v;  // widened again, [position][dim]
  KvView view;

  Cache(uint32_t n_keys, uint32_t dim_k, uint32_t dim_v, std::mt19937& rng) {
    const KernelSet& scalar = **runnable_kernel_sets();
    const uint32_t n_pages = (n_keys + kPositionsPerPage - 1) / kPositionsPerPage;
    const uint32_t lead = 24;  // another kv head's bytes before ours, at no particular alignment
    const uint64_t v_at = lead + uint64_t{kPositionsPerPage} * dim_k;
    std::normal_distribution<float> normal;
    // Allocate exactly what the keys in use need, so that reading past the last one is seen by a
    // sanitizer.
    for (uint32_t p = 0; p < n_pages; ++p) {
      const uint32_t used = std::min(kPositionsPerPage, n_keys - p * kPositionsPerPage);
      pages.emplace_back(v_at + uint64_t{used} * dim_v, uint16_t{0x7e00});
      const auto fill = [&](uint64_t at, uint32_t dim, std::vector<float>& widened) {
        for (uint64_t i = 0; i < uint64_t{used} * dim; ++i) {
          const float value = normal(rng);
          uint16_t half;
          scalar.to_f16(&value, 1, &half);
          pages.back()[at + i] = half;
          const int exponent = half >> 10 & 31, mantissa = half & 1023;
          const double size = exponent == 0 ? std::ldexp(mantissa, -24)
                                            : std::ldexp(1024 + mantissa, exponent - 25);
          widened.push_back(static_cast<float>(half & 0x8000 ? -size : size));
        }
      };
      fill(lead, dim_k, k);
      fill(v_at, dim_v, v);
    }
    for (const auto& page : pages) table.push_back(page.data());
    view = {table.data(), 2 * lead, 2 * v_at, dim_k, dim_v};
  }
};

void check(uint32_t n_keys, uint32_t n_group, uint32_t dim_k, uint32_t dim_v, uint32_t seed) {
  std::mt19937 rng(seed);
  const Cache cache(n_keys, dim_k, dim_v, rng);
  std::normal_distribution<float> normal;
  const uint64_t q_stride = dim_k + 3, out_stride = dim_v + 2;
  std::vector<float> q(n_group * q_stride);
  for (float& value : q) value = 2 * normal(rng);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim_k));
  const std::string where = std::to_string(n_keys) + " keys, group of " + std::to_string(n_group) +
                            ", head sizes " + std::to_string(dim_k) + " and " +
                            std::to_string(dim_v);

  std::vector<float> first;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    std::vector<float> out(n_group * out_stride, kGuard);
    const uint64_t scratch_floats = attention_scratch_floats(n_group, dim_v);
    std::vector<float> scratch(scratch_floats + 16, kGuard);
    (*set)->attention(q.data(), n_group, q_stride, cache.view, n_keys, scale, out.data(),
                      out_stride, scratch.data());
    for (uint64_t i = scratch_floats; i < scratch.size(); ++i) EXPECT_EQ(scratch[i], kGuard);
    for (uint32_t g = 0; g < n_group; ++g)
      for (uint64_t d = dim_v; d < out_stride; ++d) EXPECT_EQ(out[g * out_stride + d], kGuard);
    if (first.empty()) first = out;
    uint64_t differences = 0;
    for (size_t i = 0; i < out.size(); ++i)
      differences += std::bit_cast<uint32_t>(out[i]) != std::bit_cast<uint32_t>(first[i]);
    if (differences != 0)
      ::hypura::testing::fail(
          __FILE__, __LINE__,
          where + " on " + (*set)->name + ": " + std::to_string(differences) + " differ");
    // Each head alone gives what it gives in its group.
    std::vector<float> alone(dim_v);
    for (uint32_t g = 0; g < n_group; ++g) {
      (*set)->attention(q.data() + g * q_stride, 1, q_stride, cache.view, n_keys, scale,
                        alone.data(), dim_v, scratch.data());
      for (uint32_t d = 0; d < dim_v; ++d) EXPECT_EQ(alone[d], out[g * out_stride + d]);
    }
  }

  for (uint32_t g = 0; g < n_group; ++g) {
    std::vector<double> score(n_keys), want(dim_v);
    double max = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n_keys; ++i) {
      for (uint32_t d = 0; d < dim_k; ++d)
        score[i] += double{q[g * q_stride + d]} * cache.k[uint64_t{i} * dim_k + d];
      score[i] *= scale;
      max = std::max(max, score[i]);
    }
    for (double& s : score) sum += s = std::exp(s - max);
    for (uint32_t i = 0; i < n_keys; ++i)
      for (uint32_t d = 0; d < dim_v; ++d)
        want[d] += score[i] / sum * cache.v[uint64_t{i} * dim_v + d];
    for (uint32_t d = 0; d < dim_v; ++d)
      if (!(std::fabs(first[g * out_stride + d] - want[d]) <= 1e-5))
        ::hypura::testing::fail(__FILE__, __LINE__,
                                where + ": " + std::to_string(first[g * out_stride + d]) +
                                    " instead of " + std::to_string(want[d]));
  }
}

TEST(attention_agrees_around_chunk_borders) {
  uint32_t seed = 1;
  for (const uint32_t n_keys :
       {1u, 2u, 7u, 15u, 16u, 17u, 255u, 256u, 257u, 511u, 512u, 513u, 700u})
    check(n_keys, 3, 64, 64, seed++);
}

TEST(attention_agrees_for_every_group_and_head_size) {
  uint32_t seed = 100;
  for (uint32_t n_group = 1; n_group <= 8; ++n_group)
    for (const uint32_t dim : {32u, 64u, 80u, 128u}) check(300, n_group, dim, dim, seed++);
}

TEST(attention_agrees_for_odd_head_sizes) {
  uint32_t seed = 200;
  for (const uint32_t dim_k : {1u, 8u, 24u, 33u})
    for (const uint32_t dim_v : {1u, 7u, 8u, 9u, 17u, 40u}) check(270, 5, dim_k, dim_v, seed++);
}

// Scores of some thousands: one key takes nearly all, and earlier chunks are scaled by an exp that
// underflows.
TEST(attention_survives_large_scores) {
  std::mt19937 rng(7);
  const uint32_t dim = 32, n_keys = 600;
  Cache cache(n_keys, dim, dim, rng);
  const std::vector<float> q(dim, 40.0f);
  std::vector<float> first;
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    std::vector<float> out(dim), scratch(attention_scratch_floats(1, dim));
    (*set)->attention(q.data(), 1, dim, cache.view, n_keys, 1.0f, out.data(), dim, scratch.data());
    if (first.empty()) first = out;
    for (uint32_t d = 0; d < dim; ++d) {
      EXPECT(std::isfinite(out[d]));
      EXPECT_EQ(out[d], first[d]);
    }
  }
}

}  // namespace
}  // namespace hypura::kernels
