// What could break: a chunk border off by one, merges in another order, a row that reads its
// neighbour's query, scores or keys it must not see, a window cut at the wrong key, tails of odd
// head sizes, scratch used past its promised size. How we notice: sets compared bit for bit around
// the borders of 256 positions, for every group size, tile, window and type of cache; a plain softmax
// in double over all keys as second opinion; each position and each head alone, and a tile's chunks
// computed apart, equal to the whole.
#include "native/kernels/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/base/testing.h"
#include "native/kernels/blocks.h"
#include "native/kernels/kv_rows.h"

namespace hypura::kernels {
namespace {

constexpr float kGuard = -98765.0f;

struct Case {
  uint32_t n_keys;  // of the first position
  uint32_t n_positions = 1;
  uint32_t n_group = 1;
  uint32_t dim_k = 64;
  uint32_t dim_v = 64;
  KvType k_type = KvType::kF16;
  KvType v_type = KvType::kF16;
  uint32_t window = 0;
  bool sinks = false;

  std::string name() const {
    return std::to_string(n_keys) + " keys, " + std::to_string(n_positions) + " positions of " +
           std::to_string(n_group) + " heads, head sizes " + std::to_string(dim_k) + " and " +
           std::to_string(dim_v) + ", types " + std::to_string(static_cast<uint32_t>(k_type)) +
           " and " + std::to_string(static_cast<uint32_t>(v_type)) + ", window " +
           std::to_string(window) + (sinks ? ", sinks" : "");
  }
};

double value_of(const uint8_t* bytes) {
  const uint32_t half = static_cast<uint32_t>(bytes[0] | bytes[1] << 8);
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return half & 0x8000 ? -size : size;
}

struct Cache {
  std::vector<std::vector<uint8_t>> pages;
  std::vector<const void*> table;
  std::vector<double> k, v;  // widened again, [position][dim]
  KvView view;

  Cache(const Case& c, std::mt19937& rng) {
    const uint32_t n_keys = c.n_keys + c.n_positions - 1;
    const uint32_t n_pages = (n_keys + kPositionsPerPage - 1) / kPositionsPerPage;
    const uint64_t lead = 48;  // another kv head's bytes before ours, at no particular alignment
    const uint64_t v_at = lead + kPositionsPerPage * kv_row_bytes(c.k_type, c.dim_k);
    // Exactly what the keys in use need, so that reading past the last one is seen by a sanitizer;
    // what nobody may use is NaN.
    for (uint32_t p = 0; p < n_pages; ++p) {
      const uint32_t used = std::min(kPositionsPerPage, n_keys - p * kPositionsPerPage);
      pages.emplace_back(v_at + used * kv_row_bytes(c.v_type, c.dim_v), uint8_t{0x7e});
      fill(pages.back().data() + lead, c.k_type, uint64_t{used} * c.dim_k, k, rng);
      fill(pages.back().data() + v_at, c.v_type, uint64_t{used} * c.dim_v, v, rng);
    }
    for (const auto& page : pages) table.push_back(page.data());
    view = {table.data(), lead, v_at, c.dim_k, c.dim_v, c.k_type, c.v_type};
  }

  static void write_half(float value, uint8_t* at) {
    uint16_t half;
    (*runnable_kernel_sets())->to_f16(&value, 1, &half);
    std::memcpy(at, &half, sizeof half);
  }

  static void fill(uint8_t* at, KvType type, uint64_t n, std::vector<double>& widened,
                   std::mt19937& rng) {
    std::normal_distribution<float> normal;
    std::uniform_int_distribution<int> byte(-128, 127);
    for (uint64_t i = 0; i < n; ++i) {
      if (type == KvType::kF16) {
        write_half(normal(rng), at + 2 * i);
        widened.push_back(value_of(at + 2 * i));
        continue;
      }
      BlockQ8_0& block = reinterpret_cast<BlockQ8_0*>(at)[i / 32];
      if (i % 32 == 0) write_half(normal(rng) / 64, block.d);
      block.q[i % 32] = static_cast<int8_t>(byte(rng));
      widened.push_back(value_of(block.d) * block.q[i % 32]);
    }
  }
};

// Floats with something behind them that must stay.
struct Guarded {
  explicit Guarded(uint64_t n) : size(n), floats(n + 16, kGuard) {}
  ~Guarded() {
    for (uint64_t i = size; i < floats.size(); ++i) EXPECT_EQ(floats[i], kGuard);
  }
  float* data() { return floats.data(); }
  uint64_t size;
  std::vector<float> floats;
};

struct Problem {
  Case c;
  std::mt19937 rng;
  Cache cache;
  std::vector<float> q, sinks;

  Problem(const Case& of, uint32_t seed) : c(of), rng(seed), cache(of, rng) {
    std::normal_distribution<float> normal;
    q.resize(uint64_t{c.n_positions} * position_stride(c.dim_k));
    for (float& value : q) value = 2 * normal(rng);
    for (uint32_t g = 0; g < c.n_group; ++g) sinks.push_back(2 * normal(rng));
  }

  uint64_t position_stride(uint32_t dim) const { return c.n_group * head_stride(dim) + 5; }
  static uint64_t head_stride(uint32_t dim) { return dim + 3; }
  uint64_t out_floats() const { return c.n_positions * position_stride(c.dim_v); }

  AttentionTile tile(float* out) const {
    return {.q = q.data(),
            .q_position_stride = position_stride(c.dim_k),
            .q_head_stride = head_stride(c.dim_k),
            .out = out,
            .out_position_stride = position_stride(c.dim_v),
            .out_head_stride = head_stride(c.dim_v),
            .n_positions = c.n_positions,
            .n_group = c.n_group,
            .n_keys = c.n_keys,
            .window = c.window,
            .sinks = c.sinks ? sinks.data() : nullptr,
            .scale = 1.0f / std::sqrt(static_cast<float>(c.dim_k)),
            .kv = cache.view};
  }

  std::vector<float> whole(const KernelSet& set) const {
    std::vector<float> out(out_floats(), kGuard);
    Guarded scratch(attention_tile_floats(c.n_positions * c.n_group, c.dim_k, c.dim_v));
    attend(set, tile(out.data()), scratch.data());
    return out;
  }

  // One position and one head at a time.
  std::vector<float> alone(const KernelSet& set) const {
    std::vector<float> out(out_floats(), kGuard);
    Guarded scratch(attention_tile_floats(1, c.dim_k, c.dim_v));
    for (uint32_t j = 0; j < c.n_positions; ++j)
      for (uint32_t g = 0; g < c.n_group; ++g) {
        AttentionTile one = tile(out.data());
        one.q += j * one.q_position_stride + g * one.q_head_stride;
        one.out += j * one.out_position_stride + g * one.out_head_stride;
        if (one.sinks != nullptr) one.sinks += g;
        one.n_keys += j;
        one.n_positions = one.n_group = 1;
        attend(set, one, scratch.data());
      }
    return out;
  }

  // All chunks first, the last one first, then merged in order.
  std::vector<float> in_chunks(const KernelSet& set) const {
    std::vector<float> out(out_floats(), kGuard);
    const uint32_t n_rows = c.n_positions * c.n_group;
    const uint64_t part_floats = attention_part_floats(n_rows, c.dim_v);
    const AttentionTile of = tile(out.data());
    const ChunkRange chunks = chunks_of(of);
    Guarded scratch(attention_scratch_floats(n_rows, c.dim_k, c.dim_v));
    Guarded parts((chunks.end - chunks.begin + 1) * part_floats);
    const auto part = [&](uint32_t i) {
      return attention_part(parts.data() + i * part_floats, n_rows);
    };
    for (uint32_t i = chunks.end - chunks.begin; i > 0; --i)
      attend_chunk(set, of, chunks.begin + i - 1, part(i), scratch.data());
    for (uint32_t i = 1; i <= chunks.end - chunks.begin; ++i)
      merge_chunk(set, of, chunks.begin + i - 1, part(i), part(0));
    finish(of, part(0));
    return out;
  }

  void expect_softmax(const std::vector<float>& out) const {
    const AttentionTile of = tile(nullptr);
    for (uint32_t j = 0; j < c.n_positions; ++j)
      for (uint32_t g = 0; g < c.n_group; ++g) {
        const uint32_t end = c.n_keys + j;
        const uint32_t begin = c.window == 0 || end < c.window ? 0 : end - c.window;
        const float* query = q.data() + j * of.q_position_stride + g * of.q_head_stride;
        std::vector<double> score(end), want(c.dim_v);
        double max = c.sinks ? sinks[g] : -INFINITY;
        for (uint32_t i = begin; i < end; ++i) {
          for (uint32_t d = 0; d < c.dim_k; ++d)
            score[i] += double{query[d]} * cache.k[uint64_t{i} * c.dim_k + d];
          score[i] *= of.scale;
          max = std::max(max, score[i]);
        }
        double sum = c.sinks ? std::exp(sinks[g] - max) : 0;
        for (uint32_t i = begin; i < end; ++i) sum += score[i] = std::exp(score[i] - max);
        for (uint32_t i = begin; i < end; ++i)
          for (uint32_t d = 0; d < c.dim_v; ++d)
            want[d] += score[i] / sum * cache.v[uint64_t{i} * c.dim_v + d];
        const float* row = out.data() + j * of.out_position_stride + g * of.out_head_stride;
        for (uint32_t d = 0; d < c.dim_v; ++d)
          if (!(std::fabs(row[d] - want[d]) <= 1e-5))
            ::hypura::testing::fail(__FILE__, __LINE__,
                                    c.name() + ": " + std::to_string(row[d]) + " instead of " +
                                        std::to_string(want[d]));
      }
  }
};

void expect_equal(const std::vector<float>& found, const std::vector<float>& want,
                  const std::string& what) {
  uint64_t differences = 0;
  for (size_t i = 0; i < found.size(); ++i)
    differences += std::bit_cast<uint32_t>(found[i]) != std::bit_cast<uint32_t>(want[i]);
  if (differences != 0)
    ::hypura::testing::fail(__FILE__, __LINE__, what + ": " + std::to_string(differences) + " differ");
}

void check(const Case& c, uint32_t seed) {
  const Problem problem(c, seed);
  const std::vector<float> want = problem.alone(**runnable_kernel_sets());
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set) {
    const std::string where = c.name() + " on " + (*set)->name;
    expect_equal(problem.whole(**set), want, where);
    expect_equal(problem.alone(**set), want, where + ", each alone");
    expect_equal(problem.in_chunks(**set), want, where + ", in chunks");
  }
  problem.expect_softmax(want);
}

TEST(attention_agrees_around_chunk_borders) {
  uint32_t seed = 1;
  for (const uint32_t n_keys :
       {1u, 2u, 7u, 15u, 16u, 17u, 255u, 256u, 257u, 511u, 512u, 513u, 700u})
    check({.n_keys = n_keys, .n_group = 3}, seed++);
}

TEST(attention_agrees_for_every_group_and_head_size) {
  uint32_t seed = 100;
  for (uint32_t n_group = 1; n_group <= 8; ++n_group)
    for (const uint32_t dim : {32u, 64u, 80u, 128u})
      check({.n_keys = 300, .n_group = n_group, .dim_k = dim, .dim_v = dim}, seed++);
  check({.n_keys = 270, .n_group = 71}, seed++);  // more heads than a tile has rows
}

TEST(attention_agrees_for_odd_head_sizes) {
  uint32_t seed = 200;
  for (const uint32_t dim_k : {1u, 8u, 24u, 33u})
    for (const uint32_t dim_v : {1u, 7u, 8u, 9u, 17u, 40u})
      check({.n_keys = 270, .n_positions = 2, .n_group = 5, .dim_k = dim_k, .dim_v = dim_v}, seed++);
}

// Tiles that begin before a border and end behind it, and whose rows see different keys of it.
TEST(attention_of_a_tile_is_that_of_its_positions) {
  uint32_t seed = 300;
  for (const uint32_t n_group : {1u, 2u, 3u, 4u, 8u})
    for (const uint32_t n_keys : {1u, 13u, 200u, 250u, 256u, 500u})
      check({.n_keys = n_keys,
             .n_positions = attention_tile_positions(n_group),
             .n_group = n_group,
             .dim_k = 32,
             .dim_v = 48},
            seed++);
  for (uint32_t n_positions = 1; n_positions <= 9; ++n_positions)
    check({.n_keys = 250, .n_positions = n_positions, .n_group = 3, .dim_k = 16, .dim_v = 16}, seed++);
}

TEST(attention_agrees_for_q8_0_caches) {
  uint32_t seed = 400;
  for (const KvType k_type : {KvType::kF16, KvType::kQ8_0})
    for (const KvType v_type : {KvType::kF16, KvType::kQ8_0})
      for (const uint32_t dim : {32u, 96u, 128u})
        check({.n_keys = 290,
               .n_positions = 6,
               .n_group = 4,
               .dim_k = dim,
               .dim_v = dim == 96 ? 64 : dim,
               .k_type = k_type,
               .v_type = v_type},
              seed++);
}

TEST(attention_sees_the_last_keys_of_a_window) {
  uint32_t seed = 500;
  for (const uint32_t window : {1u, 5u, 16u, 100u, 128u, 256u, 300u, 4096u})
    for (const uint32_t n_keys : {1u, 100u, 255u, 256u, 380u, 600u})
      check({.n_keys = n_keys,
             .n_positions = 12,
             .n_group = 2,
             .dim_k = 32,
             .dim_v = 32,
             .window = window},
            seed++);
  check({.n_keys = 300, .n_positions = 64, .dim_k = 32, .dim_v = 32, .window = 20}, seed++);
}

TEST(attention_counts_sinks_after_the_last_chunk) {
  uint32_t seed = 600;
  for (const uint32_t window : {0u, 128u})
    for (const uint32_t n_keys : {1u, 256u, 520u})
      check({.n_keys = n_keys,
             .n_positions = 8,
             .n_group = 8,
             .dim_k = 64,
             .dim_v = 64,
             .window = window,
             .sinks = true},
            seed++);
}

// Scores of some thousands: one key takes nearly all, and earlier chunks are scaled by an exp that
// underflows.
TEST(attention_survives_large_scores) {
  Problem problem({.n_keys = 600, .n_positions = 3, .dim_k = 32, .dim_v = 32}, 7);
  std::fill(problem.q.begin(), problem.q.end(), 1000.0f);
  const std::vector<float> want = problem.alone(**runnable_kernel_sets());
  for (const KernelSet* const* set = runnable_kernel_sets(); *set != nullptr; ++set)
    expect_equal(problem.whole(**set), want, (*set)->name);
  for (const float value : want) EXPECT(std::isfinite(value));
}

}  // namespace
}  // namespace hypura::kernels
