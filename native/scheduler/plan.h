// Policy as data: what TypeScript says about what to keep and what to read in idle time. Immutable, numbered.
//
// A plan may make a run slow, never wrong: nothing in it can change a logit. The bytes are decoded here with every size
// and id checked against the table; a refused message leaves the old plan in force (kBadPlan, with the offset).
// Format: docs/formats/plan.md. Stored in no file, but append only within a format version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/base/ids.h"
#include "native/base/status.h"
#include "native/scheduler/follow_table.h"

namespace hypura::scheduler {

inline constexpr uint32_t kPlanMagic = 0x4c505948;  // "HYPL"
inline constexpr uint32_t kPlanFormat = 2;

enum class PrefillAdmission : uint32_t {
  kNormal = 0,    // a prefill block enters the pool like any other
  kKeepHits = 1,  // it takes a free slot or the least worthy one, with score 0, so that the next eviction takes it first
  kBypass = 2,    // as kKeepHits, and its use does not count for the block's priority
};

// What is done with guesses of the experts that the next layer will ask for (guesses.h).
enum class GuessMode : uint32_t {
  kOff = 0,
  kShadow = 1,    // score is kept
  kRetain = 2,    // and those that are here are given up last
  kPrefetch = 3,  // and those that are absent are read
};

// Where they come from. Crosses the border as a number, in guess events too: append only.
enum class GuessSource : uint32_t {
  kRouter = 0,  // the next layer's router, applied before its turn (native/model/layers/lookahead.h)
  kTable = 1,   // the plan's table of what follows what (followers.h)
};
inline constexpr uint32_t kGuessSources = 2;

struct PlanHeader {
  uint32_t magic;
  uint32_t format;
  uint32_t sequence_number;   // rises with each plan; an older one is refused
  uint32_t n_blocks;          // must equal the table's
  uint32_t pin_count;         // bands of the pin order that are pinned; at most the count that was loaded
  uint32_t prefill_admission; // PrefillAdmission
  uint32_t n_hold;            // block ids that are not evicted once filled; at most half of the pool's slots
  uint32_t n_warm;            // block ids that idle time reads, in this order
  uint64_t score_offset;      // f32[n_blocks], worth of keeping a block, relative; finite and >= 0
  uint64_t hold_offset;       // u32[n_hold], expert blocks, ascending
  uint64_t warm_offset;       // u32[n_warm], expert blocks
  uint32_t guess_mode;        // GuessMode
  uint32_t guesses_max;       // candidates per layer; at most kGuessesMax
  uint32_t guess_source;      // GuessSource
  uint32_t n_relations;       // of the table of what follows what; at most kFollowRelationsMax
  uint32_t n_followers;       // places of each of its rows; at most kFollowersMax
  uint32_t n_rows;            // one per expert block from first_row on; 0: no table
  uint32_t first_row;
  uint32_t reserved;          // 0
  uint64_t relation_offset;   // FollowRelation[n_relations]
  uint64_t base_offset;       // u16[n_rows]
  uint64_t follower_offset;   // Follower[n_relations][n_rows][n_followers]
};
static_assert(sizeof(PlanHeader) == 112);

struct Plan {
  uint32_t sequence_number = 0;
  uint32_t pin_count = 0;
  PrefillAdmission prefill_admission = PrefillAdmission::kNormal;
  GuessMode guess_mode = GuessMode::kOff;
  uint32_t guesses_max = 0;
  GuessSource guess_source = GuessSource::kRouter;
  std::vector<float> score;     // by block id; empty means all equal (recency alone)
  std::vector<bool> hold;       // by block id; empty means none
  std::vector<BlockId> warm;
  FollowTable followers;        // empty: nothing follows
};

// Equal scores are 1 rather than 0, so that a block admitted with score 0 is less worthy than any other.
inline double score_in(const Plan& plan, BlockId block) {
  return plan.score.empty() ? 1.0 : double{plan.score[index_of(block)]};
}

class BlockTable;

// pin_count_max: bands that have a place in the pinned stack; pool_slots: of the expert pool.
Result<std::unique_ptr<const Plan>> decode_plan(std::span<const std::byte> message, const BlockTable& table,
                                                uint32_t pin_count_max, uint32_t pool_slots);

}  // namespace hypura::scheduler
