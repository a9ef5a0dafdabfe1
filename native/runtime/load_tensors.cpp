// check_tensors(): every role the spec asks for, once, in the right shape, on blocks whose bytes lie inside the files.
//
// Why so strict: from here on nothing checks again. A kernel is handed a pointer and a number of rows, and it believes both.
#include <algorithm>
#include <optional>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/kernels/quant_types.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/load_roles.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

using model::TensorEntry, model::TensorRole;
using scheduler::Block, scheduler::BlockKind, scheduler::Extent;

class TensorCheck {
 public:
  explicit TensorCheck(const LoadRecords& records)
      : records_(records),
        fused_(
            std::any_of(records.tensors.begin(), records.tensors.end(),
                        [](const TensorEntry& t) { return t.role == TensorRole::kExpertGateUp; })),
        rules_(rules_for(records.spec, fused_)),
        owner_(records.blocks.size(), kNobody),
        tensor_of_((size_t{records.spec.n_layer} + 1) * rules_.size(), kNobody) {}

  Status run() {
    for (uint32_t i = 0; i < records_.extents.size(); ++i) HYPURA_TRY(check_extent(i));
    for (uint32_t i = 0; i < records_.blocks.size(); ++i) HYPURA_TRY(check_block(i));
    for (uint32_t i = 0; i < records_.tensors.size(); ++i) HYPURA_TRY(check_tensor(i));
    HYPURA_TRY(check_complete());
    HYPURA_TRY(check_execution_order());
    return check_pin_order();
  }

 private:
  static constexpr uint32_t kNobody = 0xffffffffu;

  // Offsets of records in the message.
  uint64_t at_tensor(uint32_t i) const {
    return records_.header.tensors_offset + uint64_t{i} * sizeof(TensorEntry);
  }
  uint64_t at_block(uint32_t i) const {
    return records_.header.blocks_offset + uint64_t{i} * sizeof(Block);
  }
  uint64_t at_extent(uint32_t i) const {
    return records_.header.extents_offset + uint64_t{i} * sizeof(Extent);
  }

  bool applies(const RoleRule& rule, uint32_t layer) const {
    return rule.applies(records_.spec, layer);
  }
  uint32_t& tensor_of(uint32_t layer, size_t rule) {
    const size_t row = layer == model::kNoLayer ? records_.spec.n_layer : layer;
    return tensor_of_[row * rules_.size() + rule];
  }

  Status check_extent(uint32_t i) const {
    const Extent& extent = records_.extents[i];
    if (extent.file >= records_.header.n_files)
      return bad_load(at_extent(i), text("extent ", i, " names file ", extent.file, " of ",
                                         records_.header.n_files));
    if (kernels::find_quant_type(extent.type) == nullptr)
      return unsupported(at_extent(i), extent.type);
    const uint64_t file_bytes = records_.files[extent.file].size_bytes;
    const auto end = checked_add(extent.offset_bytes, extent.size_bytes);
    if (extent.size_bytes == 0 || !end || *end > file_bytes)
      return bad_load(at_extent(i),
                      text("extent ", i, " (", extent.size_bytes, " bytes at ", extent.offset_bytes,
                           ") lies outside file ", extent.file, " of ", file_bytes, " bytes"));
    if (extent.size_bytes > kExtentBytesMax)
      return bad_load(at_extent(i),
                      text("extent ", i, " has ", extent.size_bytes, " bytes, at most ",
                           kExtentBytesMax, " are read as one block"));
    return {};
  }

  Status check_block(uint32_t i) const {
    const Block& block = records_.blocks[i];
    const uint64_t last = uint64_t{block.first_extent} + block.n_extents;
    if (block.kind > BlockKind::kExpert)
      return bad_load(at_block(i), text("block ", i, " is of an unknown kind"));
    if (block.n_extents == 0 || block.n_extents > kExtentsPerBlockMax ||
        last > records_.extents.size())
      return bad_load(at_block(i),
                      text("block ", i, " has ", uint32_t{block.n_extents}, " extents from ",
                           block.first_extent, " of ", records_.extents.size()));
    if (block.reserved != 0)
      return bad_load(at_block(i), text("a reserved field of block ", i, " is not 0"));
    if (block.kind != BlockKind::kExpert && (block.n_extents != 1 || block.expert != 0))
      return bad_load(at_block(i),
                      text("block ", i, " is no expert, but has ", uint32_t{block.n_extents},
                           " extents and expert number ", block.expert));
    return {};
  }

  Status check_tensor(uint32_t i) {
    const TensorEntry& tensor = records_.tensors[i];
    size_t rule_index = 0;
    while (rule_index < rules_.size() && rules_[rule_index].role != tensor.role) ++rule_index;
    if (rule_index == rules_.size() || !applies(rules_[rule_index], tensor.layer))
      return bad_load(at_tensor(i),
                      text("tensor ", i, " has role ", static_cast<uint32_t>(tensor.role),
                           " in layer ", tensor.layer, ", which this model does not have there"));
    const RoleRule& rule = rules_[rule_index];
    uint32_t& seen = tensor_of(tensor.layer, rule_index);
    if (seen != kNobody)
      return bad_load(at_tensor(i), text(name(rule, tensor.layer), " is listed twice"));
    seen = i;
    if (tensor.n_rows != rule.rows || tensor.n_cols != rule.cols)
      return bad_load(at_tensor(i),
                      text(name(rule, tensor.layer), " has ", tensor.n_rows, " x ", tensor.n_cols,
                           " weights, the model shape asks for ", rule.rows, " x ", rule.cols));
    const kernels::QuantTypeInfo* type = kernels::find_quant_type(tensor.type);
    if (type == nullptr) return unsupported(at_tensor(i), tensor.type);
    if (rule.kind == BlockKind::kTrunk && rule.rows == 1 && type->block_weights != 1)
      return bad_load(at_tensor(i), text(name(rule, tensor.layer), " is stored as ", type->name,
                                         ", vectors are stored as floats"));
    const uint64_t last = uint64_t{tensor.first_block} + tensor.n_blocks;
    if (tensor.n_blocks == 0 || last > records_.blocks.size())
      return bad_load(at_tensor(i),
                      text(name(rule, tensor.layer), " names ", tensor.n_blocks, " blocks from ",
                           tensor.first_block, " of ", records_.blocks.size()));
    return rule.kind == BlockKind::kExpert ? check_expert_tensor(i, rule) : check_rows(i, rule);
  }

  // Trunk, bands and row bands: the tensor's own blocks cover its rows once, ascending.
  Status check_rows(uint32_t i, const RoleRule& rule) {
    const TensorEntry& tensor = records_.tensors[i];
    if (rule.kind == BlockKind::kTrunk && tensor.n_blocks != 1)
      return bad_load(at_tensor(i),
                      text(name(rule, tensor.layer), " is small and must be one block"));
    uint64_t next_row = 0;
    for (uint32_t id = tensor.first_block; id < tensor.first_block + tensor.n_blocks; ++id) {
      const Block& block = records_.blocks[id];
      HYPURA_TRY(claim(id, i, rule, tensor.layer));
      if (block.tensor != i)
        return bad_load(at_block(id),
                        text("block ", id, " names tensor ", block.tensor, ", but belongs to ", i));
      const uint64_t rows = rule.kind == BlockKind::kTrunk ? rule.rows : block.row_count;
      if (rule.kind != BlockKind::kTrunk && (block.row_begin != next_row || rows == 0))
        return bad_load(at_block(id),
                        text("block ", id, " holds ", rows, " rows from ", block.row_begin, " of ",
                             name(rule, tensor.layer), ", expected are rows from ", next_row));
      next_row += rows;
      const bool last = id + 1 == tensor.first_block + tensor.n_blocks;
      if (rule.kind == BlockKind::kRowBand &&
          (last ? rows > kRowsPerRowBand : rows != kRowsPerRowBand))
        return bad_load(at_block(id),
                        text("row band ", id, " has ", rows, " rows, they have ", kRowsPerRowBand));
      if (next_row > rule.rows) break;
      if (records_.extents[block.first_extent].type != tensor.type)
        return bad_load(at_extent(block.first_extent),
                        text("the type of block ", id, " is not that of its tensor"));
      HYPURA_TRY(check_bytes(block.first_extent, rows, rule, tensor.layer));
    }
    if (next_row != rule.rows)
      return bad_load(at_tensor(i), text("the blocks of ", name(rule, tensor.layer), " cover ",
                                         next_row, " of ", rule.rows, " rows"));
    return {};
  }

  // One extent per expert; the experts' blocks are shared by gate, up and down.
  Status check_expert_tensor(uint32_t i, const RoleRule& rule) {
    const TensorEntry& tensor = records_.tensors[i];
    if (tensor.n_blocks != records_.spec.n_expert)
      return bad_load(at_tensor(i), text(name(rule, tensor.layer), " has ", tensor.n_blocks,
                                         " experts, the model has ", records_.spec.n_expert));
    const uint32_t extents = fused_ ? 2 : 3;
    const uint32_t place = rule.role == TensorRole::kExpertDown ? extents - 1
                           : rule.role == TensorRole::kExpertUp ? 1
                                                                : 0;
    for (uint32_t expert = 0; expert < tensor.n_blocks; ++expert) {
      const uint32_t id = tensor.first_block + expert;
      const Block& block = records_.blocks[id];
      if (rule.role == TensorRole::kExpertDown) HYPURA_TRY(claim(id, i, rule, tensor.layer));
      if (block.kind != BlockKind::kExpert || block.layer != tensor.layer ||
          block.expert != expert || block.tensor != kNobody || block.n_extents != extents)
        return bad_load(at_block(id), text("block ", id, " is not expert ", expert, " of layer ",
                                           tensor.layer, " with ", extents, " extents"));
      HYPURA_TRY(check_bytes(block.first_extent + place, rule.rows, rule, tensor.layer));
    }
    return {};
  }

  // A block belongs to one tensor (experts: to the down tensor of their layer, for the count).
  Status claim(uint32_t id, uint32_t tensor, const RoleRule& rule, uint32_t layer) {
    const Block& block = records_.blocks[id];
    if (owner_[id] != kNobody)
      return bad_load(at_block(id),
                      text("block ", id, " is used by tensors ", owner_[id], " and ", tensor));
    owner_[id] = tensor;
    if (block.kind != rule.kind || block.layer != layer)
      return bad_load(at_block(id),
                      text("block ", id, " is of another kind or layer than ", name(rule, layer)));
    return {};
  }

  Status check_bytes(uint32_t extent_index, uint64_t rows, const RoleRule& rule,
                     uint32_t layer) const {
    const Extent& extent = records_.extents[extent_index];
    const kernels::QuantTypeInfo& type = *kernels::find_quant_type(extent.type);
    if (rule.cols % type.block_weights != 0)
      return bad_load(at_extent(extent_index),
                      text("a row of ", name(rule, layer), " has ", rule.cols,
                           " weights, which is no multiple of the ", type.block_weights, " of a ",
                           type.name, " block"));
    const auto bytes = checked_mul(rows, kernels::row_bytes(type, rule.cols));
    if (!bytes || *bytes != extent.size_bytes)
      return bad_load(
          at_extent(extent_index),
          text("extent ", extent_index, " has ", extent.size_bytes, " bytes, ", rows, " rows of ",
               name(rule, layer), " as ", type.name, " have ", bytes.value_or(0)));
    return {};
  }

  Status check_complete() {
    for (uint32_t row = 0; row <= records_.spec.n_layer; ++row) {
      const uint32_t layer = row == records_.spec.n_layer ? model::kNoLayer : row;
      for (size_t r = 0; r < rules_.size(); ++r)
        if (rules_[r].required && applies(rules_[r], layer) && tensor_of(layer, r) == kNobody)
          return bad_load(offsetof(LoadHeader, n_tensors),
                          text(name(rules_[r], layer), " is missing"));
      HYPURA_TRY(check_expert_blocks_agree(layer));
    }
    for (uint32_t id = 0; id < owner_.size(); ++id)
      if (owner_[id] == kNobody)
        return bad_load(at_block(id), text("block ", id, " belongs to no tensor"));
    return {};
  }

  // Gate, up and down of a layer name the same blocks.
  Status check_expert_blocks_agree(uint32_t layer) {
    std::optional<uint32_t> first;
    for (size_t r = 0; r < rules_.size(); ++r) {
      if (rules_[r].kind != BlockKind::kExpert || !applies(rules_[r], layer)) continue;
      const uint32_t tensor = tensor_of(layer, r);
      if (first && *first != records_.tensors[tensor].first_block)
        return bad_load(at_tensor(tensor),
                        text("the expert tensors of layer ", layer, " name different blocks"));
      first = records_.tensors[tensor].first_block;
    }
    return {};
  }

  // Bands are numbered as they are used: layers ascending, roles ascending inside a layer, the output head last.
  Status check_execution_order() {
    uint32_t next = 0;
    for (uint32_t layer = 0; layer <= records_.spec.n_layer; ++layer) {
      const bool head = layer == records_.spec.n_layer;
      for (size_t r = 0; r < rules_.size(); ++r) {
        const uint32_t scope_layer = head ? model::kNoLayer : layer;
        if (rules_[r].kind != BlockKind::kBand || !applies(rules_[r], scope_layer)) continue;
        const uint32_t i = tensor_of(scope_layer, r);
        const TensorEntry& tensor = records_.tensors[i];
        if (tensor.first_block < next)
          return bad_load(at_tensor(i),
                          text("the bands of ", name(rules_[r], scope_layer), " begin at block ",
                               tensor.first_block, ", those used before end at ", next));
        next = tensor.first_block + tensor.n_blocks;
        if (head && tensor.first_block != records_.header.first_head_band)
          return bad_load(offsetof(LoadHeader, first_head_band),
                          text("the head's first band is ", tensor.first_block,
                               ", the header says ", records_.header.first_head_band));
      }
    }
    return {};
  }

  Status check_pin_order() const {
    std::vector<bool> seen(records_.blocks.size(), false);
    for (uint32_t i = 0; i < records_.pin_order.size(); ++i) {
      const uint32_t id = records_.pin_order[i];
      if (id >= records_.blocks.size() || records_.blocks[id].kind != BlockKind::kBand || seen[id])
        return bad_load(records_.header.pin_order_offset + uint64_t{i} * sizeof(uint32_t),
                        text("place ", i, " of the pin order names block ", id,
                             ", which is no band or was named before"));
      seen[id] = true;
    }
    const auto bands =
        std::count_if(records_.blocks.begin(), records_.blocks.end(),
                      [](const Block& block) { return block.kind == BlockKind::kBand; });
    if (static_cast<uint64_t>(bands) != records_.pin_order.size())
      return bad_load(offsetof(LoadHeader, n_pin_order),
                      text("the pin order has ", records_.pin_order.size(), " entries, there are ",
                           bands, " bands"));
    return {};
  }

  static Status unsupported(uint64_t at, uint32_t type) {
    return Status::at(Code::kUnsupported, at,
                      text("tensor type ", type, " has no kernel in this version"));
  }
  static std::string name(const RoleRule& rule, uint32_t layer) {
    return layer == model::kNoLayer ? std::string(rule.name) : text(rule.name, " of layer ", layer);
  }

  const LoadRecords& records_;
  const bool fused_;
  const std::vector<RoleRule> rules_;
  std::vector<uint32_t> owner_;      // [block] tensor, or kNobody
  std::vector<uint32_t> tensor_of_;  // [layer, the model's own last][rule], or kNobody
};

}  // namespace

Status check_tensors(const LoadRecords& records) { return TensorCheck(records).run(); }

}  // namespace hypura::runtime
