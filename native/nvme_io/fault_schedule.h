// Which reads fail, and how: the text form of a fault schedule, and its decisions. No I/O happens here.
//
//   schedule = rule { ";" rule }                     the empty schedule is legal: nothing fails
//   rule     = mode [ "=" number ] ":" scope ":" repeat [ ":" seed ]
//   mode     = "eio"           ends with -EIO; the buffer holds garbage
//            | "enomem"        ends with -ENOMEM, as a refused submission does; the buffer is untouched
//            | "short" [=n]    ends after n bytes (default: drawn, 1 .. bytes - 1); the rest of the buffer holds garbage
//            | "eof"           ends with 0, as past the end of the file; the buffer holds garbage
//            | "delay" [=ms]   begins ms milliseconds late (default 5)
//            | "stall"         begins when FaultIo::release_stalled() is called
//            | "flip"  [=bit]  one bit of the bytes read is wrong (default: drawn)
//            | "reorder"       its completion is held back until nothing else is on its way; those held come shuffled
//            | "duplicate"     its completion comes twice
//   scope    = place [ "@" copy ]  with a copy only that copy's reads are in scope, and counted (0 is the model itself)
//   place    = "all" | "at=k" (read number k, from 0) | "after=k" (number k and later) | "every=p" (one in p, drawn)
//            | "range=a-b" (reads that touch the offsets a .. b - 1 of any file)
//   repeat   = "once"          the first read in scope
//            | "forever"       every read in scope; with "at", that read and all later ones of the same place: a bad sector
//   seed     = number          of everything drawn (default 0): same seed, same reads in the same order, same faults
//
// Example: "eio:at=17:forever;delay=20:every=5:forever:42". Numbers are decimal. Reads are counted in the order of their
// submission, retries included. Several rules may hit one read: they act together, and where two give a result (eio, enomem,
// eof) the first one does.
// Thread: one at a time.   Allocates: in parse(), never later.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "native/base/status.h"
#include "native/nvme_io/io_backend.h"

namespace hypura::nvme_io {

enum class FaultMode : uint8_t {
  kEio, kEnomem, kShort, kEof, kDelay, kStall, kFlip, kReorder, kDuplicate,
};
inline constexpr uint32_t kFaultModes = 9;

// The name used in a schedule.
const char* name_of(FaultMode mode);

// What shall happen to one read.
struct Faults {
  std::optional<int32_t> result;     // eio, enomem, eof: the drive is not asked
  bool garbage = false;              // the buffer is filled with it
  uint32_t delay_ms = 0;
  bool stall = false;
  bool reorder = false;
  bool duplicate = false;
  std::optional<uint32_t> short_bytes;
  std::optional<uint64_t> flip_bit;  // counted from the begin of the buffer, modulo the bits read
  uint32_t modes = 0;                // bit (1 << FaultMode) of each rule that acts
};

class FaultSchedule {
 public:
  // Error: kInvalidArgument with the rule and what is wrong with it.
  static Result<FaultSchedule> parse(std::string_view text);

  // Decides for the next read, in the order of submission.
  Faults next(const Read& read);

 private:
  enum class Scope : uint8_t { kAll, kAt, kAfter, kEvery, kRange };
  struct Rule {
    FaultMode mode = FaultMode::kEio;
    std::optional<uint64_t> amount;
    Scope scope = Scope::kAll;
    std::optional<uint32_t> copy;    // none: of all copies
    uint64_t scope_begin = 0;        // k, p or a
    uint64_t scope_end = 0;          // b
    bool forever = false;
    uint64_t seed = 0;
    bool spent = false;              // once, and it happened
    // "at ... forever": the place of read number k.
    std::optional<Read> place;
  };
  static Result<Rule> parse_rule(std::string_view text);
  static bool in_scope(Rule& rule, const Read& read, uint64_t number);
  static void act(const Rule& rule, const Read& read, uint64_t number, Faults& faults);

  std::vector<Rule> rules_;
  uint64_t reads_ = 0;
  std::array<uint64_t, kCopiesMax> reads_of_copy_{};
};

}  // namespace hypura::nvme_io
