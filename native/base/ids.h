// Strong indices. Each is a plain number that cannot be mistaken for another kind of number.
#pragma once

#include <cstdint>
#include <type_traits>

namespace hypura {

enum class BlockId : uint32_t {};   // into BlockTable: unit of residency
enum class SlotId : uint32_t {};    // into the slots of one pool or ring
enum class FileId : uint32_t {};    // into the files of the Load message
enum class LayerId : uint16_t {};   // 0 .. n_layer - 1
enum class ExpertId : uint16_t {};  // 0 .. n_expert - 1, within a layer

inline constexpr BlockId kNoBlock{0xffffffffu};

template <typename Id>
constexpr auto index_of(Id id) {
  return static_cast<std::underlying_type_t<Id>>(id);
}

}  // namespace hypura
