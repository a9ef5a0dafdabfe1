// How the decoders of a Plan message look at it: sections checked against its end, records copied out. Private to plan*.cpp and
// follow_table.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/status.h"
#include "native/scheduler/plan.h"

namespace hypura::scheduler {

inline Status bad_plan(uint64_t offset_bytes, std::string message) {
  return Status::at(Code::kBadPlan, offset_bytes, std::move(message));
}

// The section of `count` records of `record_bytes` that the header field at `field_bytes` points to.
inline Result<std::span<const std::byte>> section_of(const MessageReader& message,
                                                     uint64_t field_bytes, uint64_t offset_bytes,
                                                     uint64_t count, uint64_t record_bytes,
                                                     const char* name) {
  if (offset_bytes % 4 != 0)
    return bad_plan(field_bytes, std::string("the plan's ") + name + " offset " +
                                     std::to_string(offset_bytes) + " is not a multiple of 4");
  if (count > 0 && offset_bytes < sizeof(PlanHeader))
    return bad_plan(field_bytes, std::string("the plan's ") + name + " section lies in its header");
  const auto bytes = message.section(offset_bytes, count, record_bytes);
  if (!bytes)
    return bad_plan(field_bytes, std::string("the plan's ") + name + " section, " +
                                     std::to_string(count) + " records at " +
                                     std::to_string(offset_bytes) +
                                     ", passes the end of the message, " +
                                     std::to_string(message.size()) + " bytes");
  return *bytes;
}

template <typename T>
T record_at(std::span<const std::byte> section, uint64_t i) {
  T value;
  std::memcpy(&value, section.data() + i * sizeof(T), sizeof(T));
  return value;
}

}  // namespace hypura::scheduler
