#include "native/nvme_io/fault_schedule.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <string>

namespace hypura::nvme_io {
namespace {

struct ModeName {
  const char* name;
  bool takes_amount;
};
// In the order of FaultMode.
constexpr std::array<ModeName, kFaultModes> kModeNames = {{
    {"eio", false}, {"enomem", false}, {"short", true}, {"eof", false}, {"delay", true},
    {"stall", false}, {"flip", true}, {"reorder", false}, {"duplicate", false},
}};
constexpr uint32_t kDelayMsDefault = 5;
constexpr uint32_t kDelayMsMax = 60'000;

// splitmix64 (Steele, Lea and Flood 2014): one well-mixed number per (seed, read), without a state to keep in order.
uint64_t draw(uint64_t seed, uint64_t number) {
  uint64_t z = seed * 0xd1342543de82ef95ull + (number + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Splits at the first `separator`; `rest` is empty and `found` false when there is none.
struct Halves {
  std::string_view first, rest;
  bool found = false;
};
Halves split(std::string_view text, char separator) {
  const size_t at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}, false};
  return {text.substr(0, at), text.substr(at + 1), true};
}

Status wrong(std::string_view rule, const std::string& what) {
  return Status::error(Code::kInvalidArgument, "fault rule \"" + std::string(rule) + "\": " + what);
}

bool same_place(const Read& a, const Read& b) {
  return a.fd == b.fd && a.offset_bytes < b.offset_bytes + b.bytes &&
         b.offset_bytes < a.offset_bytes + a.bytes;
}

}  // namespace

const char* name_of(FaultMode mode) { return kModeNames[static_cast<size_t>(mode)].name; }

Result<FaultSchedule> FaultSchedule::parse(std::string_view text) {
  FaultSchedule schedule;
  if (text.empty()) return schedule;
  for (Halves rules = split(text, ';');; rules = split(rules.rest, ';')) {
    HYPURA_TRY_ASSIGN(Rule rule, parse_rule(rules.first));
    schedule.rules_.push_back(rule);
    if (!rules.found) return schedule;
  }
}

Result<FaultSchedule::Rule> FaultSchedule::parse_rule(std::string_view text) {
  Rule rule;
  const Halves mode = split(text, ':');
  const Halves scope = split(mode.rest, ':');
  const Halves repeat = split(scope.rest, ':');
  if (!mode.found || !scope.found) return wrong(text, "expected mode:scope:repeat[:seed]");

  const Halves mode_amount = split(mode.first, '=');
  size_t index = 0;
  while (index < kFaultModes && mode_amount.first != kModeNames[index].name) ++index;
  if (index == kFaultModes) {
    std::string known;
    for (const ModeName& each : kModeNames)
      known += std::string(known.empty() ? "" : ", ") + each.name;
    return wrong(text, "no mode \"" + std::string(mode_amount.first) + "\", use one of " + known);
  }
  rule.mode = static_cast<FaultMode>(index);
  if (mode_amount.found) {
    if (!kModeNames[index].takes_amount)
      return wrong(text, std::string(kModeNames[index].name) + " takes no number");
    rule.amount = number_of(mode_amount.rest);
    if (!rule.amount) return wrong(text, "\"" + std::string(mode_amount.rest) + "\" is no number");
    if (rule.mode == FaultMode::kShort && (*rule.amount == 0 || *rule.amount >= kReadBytesMax))
      return wrong(text, "a short read has 1 byte or more, and less than the longest read");
    if (rule.mode == FaultMode::kDelay && *rule.amount > kDelayMsMax)
      return wrong(text, "a delay is at most " + std::to_string(kDelayMsMax) + " ms, use stall");
  }

  const Halves place = split(scope.first, '@');
  const Halves scope_number = split(place.first, '=');
  if (place.found) {
    const auto copy = number_of(place.rest);
    if (!copy || *copy >= kCopiesMax)
      return wrong(text, "there is no copy \"" + std::string(place.rest) + "\"");
    rule.copy = static_cast<uint32_t>(*copy);
  }
  if (scope_number.first == "range") {
    const Halves ends = split(scope_number.rest, '-');
    const auto begin = number_of(ends.first), end = number_of(ends.rest);
    if (!begin || !end || *begin >= *end) return wrong(text, "expected range=a-b with a < b");
    rule.scope = Scope::kRange;
    rule.scope_begin = *begin;
    rule.scope_end = *end;
  } else if (place.first == "all") {
    rule.scope = Scope::kAll;
  } else {
    const auto number = number_of(scope_number.rest);
    if (scope_number.first == "at") {
      rule.scope = Scope::kAt;
    } else if (scope_number.first == "after") {
      rule.scope = Scope::kAfter;
    } else if (scope_number.first == "every") {
      rule.scope = Scope::kEvery;
    } else {
      return wrong(text, "no scope \"" + std::string(place.first) +
                             "\", use all, at=k, after=k, every=p or range=a-b");
    }
    if (!number) return wrong(text, "\"" + std::string(scope_number.rest) + "\" is no number");
    if (rule.scope == Scope::kEvery && *number == 0) return wrong(text, "every=p needs p >= 1");
    rule.scope_begin = *number;
  }

  if (repeat.first != "once" && repeat.first != "forever")
    return wrong(text, "no repeat \"" + std::string(repeat.first) + "\", use once or forever");
  rule.forever = repeat.first == "forever";
  if (repeat.found) {
    const auto seed = number_of(repeat.rest);
    if (!seed) return wrong(text, "the seed \"" + std::string(repeat.rest) + "\" is no number");
    rule.seed = *seed;
  }
  return rule;
}

Faults FaultSchedule::next(const Read& read) {
  Faults faults;
  const uint64_t of_all = reads_++;
  const uint64_t of_copy = reads_of_copy_[read.copy]++;
  for (Rule& rule : rules_) {
    if (rule.copy && *rule.copy != read.copy) continue;
    const uint64_t number = rule.copy ? of_copy : of_all;
    if (rule.spent || !in_scope(rule, read, number)) continue;
    rule.spent = !rule.forever;
    faults.modes |= 1u << static_cast<uint32_t>(rule.mode);
    act(rule, read, number, faults);
  }
  return faults;
}

bool FaultSchedule::in_scope(Rule& rule, const Read& read, uint64_t number) {
  switch (rule.scope) {
    case Scope::kAll:
      return true;
    case Scope::kAt:
      if (number == rule.scope_begin) rule.place = read;
      return rule.place && same_place(*rule.place, read);
    case Scope::kAfter:
      return number >= rule.scope_begin;
    case Scope::kEvery:
      return draw(rule.seed, number) % rule.scope_begin == 0;
    case Scope::kRange:
      return read.offset_bytes < rule.scope_end &&
             rule.scope_begin < read.offset_bytes + read.bytes;
  }
  return false;
}

void FaultSchedule::act(const Rule& rule, const Read& read, uint64_t number, Faults& faults) {
  // Another draw than the one that chose the read.
  const uint64_t drawn = draw(~rule.seed, number);
  const auto end_with = [&faults](int32_t result, bool garbage) {
    if (faults.result) return;
    faults.result = result;
    faults.garbage = garbage;
  };
  switch (rule.mode) {
    case FaultMode::kEio: return end_with(-EIO, true);
    case FaultMode::kEnomem: return end_with(-ENOMEM, false);
    case FaultMode::kEof: return end_with(0, true);
    case FaultMode::kShort:
      if (rule.amount) {
        faults.short_bytes = static_cast<uint32_t>(*rule.amount);
      } else if (read.bytes > 1) {
        faults.short_bytes = static_cast<uint32_t>(1 + drawn % (read.bytes - 1));
      }
      return;
    case FaultMode::kDelay:
      faults.delay_ms += static_cast<uint32_t>(rule.amount.value_or(kDelayMsDefault));
      return;
    case FaultMode::kStall: faults.stall = true; return;
    case FaultMode::kFlip: faults.flip_bit = rule.amount.value_or(drawn); return;
    case FaultMode::kReorder: faults.reorder = true; return;
    case FaultMode::kDuplicate: faults.duplicate = true; return;
  }
}

}  // namespace hypura::nvme_io
