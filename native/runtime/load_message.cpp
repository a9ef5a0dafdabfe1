#include "native/runtime/load_message.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "native/base/bytes.h"
#include "native/base/limits.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

// A path longer than this is refused by every system call.
constexpr uint32_t kPathBytesMax = 4096;
// Faster than any drive by far: sums and quotients of such numbers stay finite.
constexpr double kBytesPerSecondMax = 1e15;
// Tensors of a layer: every role once.
constexpr uint32_t kTensorsPerLayerMax = 64;

struct Section {
  const char* name;
  uint64_t offset;
  uint64_t count;
  uint64_t record_bytes;
};

constexpr size_t kSections = 10;

std::array<Section, kSections> sections_of(const LoadHeader& header) {
  return {{
      {"files", header.files_offset, uint64_t{header.n_copies} * header.n_files, sizeof(LoadFile)},
      {"drives", header.drives_offset, header.n_drives, sizeof(LoadDrive)},
      {"specs", header.specs_offset, header.n_models, sizeof(model::ModelSpec)},
      {"tensors", header.tensors_offset, header.n_tensors, sizeof(model::TensorEntry)},
      {"blocks", header.blocks_offset, header.n_blocks, sizeof(scheduler::Block)},
      {"extents", header.extents_offset, header.n_extents, sizeof(scheduler::Extent)},
      {"pin order", header.pin_order_offset, header.n_pin_order, sizeof(uint32_t)},
      {"inverse frequencies", header.inv_freq_offset, header.n_inv_freq, sizeof(double)},
      {"budget", header.budget_offset, 1, sizeof(LoadBudget)},
      {"strings", header.strings_offset, header.strings_bytes, 1},
  }};
}

Status check_count(uint64_t offset, const char* what, uint64_t found, uint64_t least,
                   uint64_t most) {
  if (found >= least && found <= most) return {};
  return bad_load(offset, text("the Load message has ", found, " ", what, ", allowed are ", least,
                               " to ", most));
}

Status check_header(const LoadHeader& header) {
  if (header.magic != kLoadMagic)
    return bad_load(offsetof(LoadHeader, magic),
                    "these bytes are not a Load message: its magic number is missing");
  if (header.format != kLoadFormat)
    return bad_load(offsetof(LoadHeader, format),
                    text("Load message format ", header.format, " is not known here, format ",
                         kLoadFormat, " is"));
  if (header.abi_version != kAbiVersion)
    return bad_load(offsetof(LoadHeader, abi_version),
                    text("the Load message was written for ABI version ", header.abi_version,
                         ", this addon has ", kAbiVersion, ": rebuild it"));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_files), "files", header.n_files, 1, kFilesMax));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_copies), "copies", header.n_copies, 1, kCopiesMax));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_drives), "drives", header.n_drives, 1, kDrivesMax));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_models), "models", header.n_models, 1, 1));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_tensors), "tensors", header.n_tensors, 1,
                         (kLayersMax + 1) * kTensorsPerLayerMax));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_blocks), "blocks", header.n_blocks, 1, kBlocksMax));
  HYPURA_TRY(check_count(offsetof(LoadHeader, n_extents), "extents", header.n_extents, 1,
                         uint64_t{header.n_blocks} * kExtentsPerBlockMax));
  if (header.reserved != 0)
    return bad_load(offsetof(LoadHeader, reserved), "a reserved field is not 0");
  return {};
}

// Every section inside the message, none over another or over the header.
Status check_sections(const LoadHeader& header, const MessageReader& reader) {
  std::array<Section, kSections> sections = sections_of(header);
  for (const Section& section : sections)
    if (!reader.section(section.offset, section.count, section.record_bytes))
      return bad_load(
          std::min<uint64_t>(section.offset, reader.size()),
          text("the section of ", section.name, " (", section.count, " records at ", section.offset,
               ") passes the end of the message, ", reader.size(), " bytes"));
  std::sort(sections.begin(), sections.end(),
            [](const Section& a, const Section& b) { return a.offset < b.offset; });
  uint64_t end = sizeof(LoadHeader);
  for (const Section& section : sections) {
    if (section.count == 0) continue;
    if (section.offset < end)
      return bad_load(section.offset,
                      text("the section of ", section.name, " lies over another one"));
    end = section.offset + section.count * section.record_bytes;
  }
  return {};
}

// Sections were checked: every copy is inside the message.
template <typename T>
std::vector<T> copy_section(const MessageReader& reader, uint64_t offset, uint32_t count) {
  std::vector<T> out(count);
  const auto bytes = reader.section(offset, count, sizeof(T));
  if (count > 0) std::memcpy(out.data(), bytes->data(), bytes->size());
  return out;
}

Result<LoadRecords> copy_records(const MessageReader& reader) {
  const auto header = reader.record<LoadHeader>(0);
  if (!header)
    return bad_load(reader.size(), text("the Load message ends after ", reader.size(),
                                        " bytes, its header needs ", sizeof(LoadHeader)));
  HYPURA_TRY(check_header(*header));
  HYPURA_TRY(check_sections(*header, reader));
  return LoadRecords{
      .header = *header,
      .files = copy_section<LoadFile>(reader, header->files_offset,
                                      header->n_copies * header->n_files),
      .drives = copy_section<LoadDrive>(reader, header->drives_offset, header->n_drives),
      .spec = *reader.record<model::ModelSpec>(header->specs_offset),
      .tensors =
          copy_section<model::TensorEntry>(reader, header->tensors_offset, header->n_tensors),
      .blocks = copy_section<scheduler::Block>(reader, header->blocks_offset, header->n_blocks),
      .extents = copy_section<scheduler::Extent>(reader, header->extents_offset, header->n_extents),
      .pin_order = copy_section<uint32_t>(reader, header->pin_order_offset, header->n_pin_order),
      .inv_freq = copy_section<double>(reader, header->inv_freq_offset, header->n_inv_freq),
      .budget = *reader.record<LoadBudget>(header->budget_offset),
  };
}

Result<std::vector<LoadMessage::File>> decode_files(const LoadRecords& records,
                                                    const MessageReader& reader) {
  const auto strings =
      reader.section(records.header.strings_offset, records.header.strings_bytes, 1);
  const MessageReader string_reader(*strings);
  std::vector<LoadMessage::File> files;
  for (size_t i = 0; i < records.files.size(); ++i) {
    const LoadFile& file = records.files[i];
    const uint64_t at = records.header.files_offset + i * sizeof(LoadFile);
    if (file.path_bytes == 0 || file.path_bytes > kPathBytesMax)
      return bad_load(at + offsetof(LoadFile, path_bytes),
                      text("the path of file ", i, " has ", file.path_bytes,
                           " bytes, allowed are 1 to ", kPathBytesMax));
    const auto path = string_reader.section(file.path_offset, file.path_bytes, 1);
    if (!path)
      return bad_load(at + offsetof(LoadFile, path_offset),
                      text("the path of file ", i, " lies outside the strings"));
    if (std::find(path->begin(), path->end(), std::byte{0}) != path->end())
      return bad_load(at + offsetof(LoadFile, path_offset),
                      text("the path of file ", i, " contains a zero byte"));
    if (file.size_bytes == 0 || file.size_bytes > static_cast<uint64_t>(INT64_MAX) - kHugePageBytes)
      return bad_load(at, text("file ", i, " is said to have ", file.size_bytes, " bytes"));
    files.push_back({.path = std::string(reinterpret_cast<const char*>(path->data()), path->size()),
                     .size_bytes = file.size_bytes,
                     .mtime_ns = file.mtime_ns,
                     .inode = file.inode,
                     .device = file.device,
                     .verified = file.verified == 1});
  }
  return files;
}

// Copies: every file of the first one again, of the same size, on a drive of the table.
Result<scheduler::CopyLayout> decode_copies(const LoadRecords& records) {
  const LoadHeader& header = records.header;
  scheduler::CopyLayout layout{.copies = header.n_copies, .drives = {}, .bytes_per_second = {}};
  for (size_t i = 0; i < records.files.size(); ++i) {
    const LoadFile& file = records.files[i];
    const LoadFile& first = records.files[i % header.n_files];
    const uint64_t at = header.files_offset + i * sizeof(LoadFile);
    if (file.drive >= header.n_drives)
      return bad_load(at + offsetof(LoadFile, drive),
                      text("file ", i, " lies on drive ", file.drive, " of ", header.n_drives));
    if (file.verified > 1 || (i < header.n_files && file.verified != 1))
      return bad_load(at + offsetof(LoadFile, verified),
                      text("file ", i, " has ", file.verified, " as its mark of being verified"));
    if (file.size_bytes != first.size_bytes)
      return bad_load(at, text("file ", i, " has ", file.size_bytes,
                               " bytes, its first copy has ", first.size_bytes));
    layout.drives.push_back(file.drive);
  }
  for (size_t i = 0; i < records.drives.size(); ++i) {
    const double speed = records.drives[i].bytes_per_second;
    if (!(speed >= 0 && speed <= kBytesPerSecondMax))
      return bad_load(header.drives_offset + i * sizeof(LoadDrive),
                      text("drive ", i, " is said to read ", speed, " bytes per second"));
    layout.bytes_per_second.push_back(speed);
  }
  if (header.n_copies > 1 && records.budget.placement != WeightPlacement::kCache)
    return bad_load(header.budget_offset + offsetof(LoadBudget, placement),
                    text("weights without a cache are taken from one copy, not from ",
                         header.n_copies));
  return layout;
}

}  // namespace

Status bad_load(uint64_t offset_bytes, std::string message) {
  return Status::at(Code::kBadLoad, offset_bytes, std::move(message));
}

Result<LoadMessage> decode_load(std::span<const std::byte> message) {
  const MessageReader reader(message);
  HYPURA_TRY_ASSIGN(LoadRecords records, copy_records(reader));
  HYPURA_TRY_ASSIGN(std::vector<LoadMessage::File> files, decode_files(records, reader));
  HYPURA_TRY_ASSIGN(scheduler::CopyLayout copies, decode_copies(records));
  HYPURA_TRY(check_spec(records.spec, records.header.specs_offset));
  HYPURA_TRY(check_inv_freq(records));
  HYPURA_TRY(check_tensors(records));
  HYPURA_TRY(check_budget(records));
  std::vector<BlockId> pin_order;
  pin_order.reserve(records.pin_order.size());
  for (uint32_t id : records.pin_order) pin_order.push_back(BlockId{id});
  return LoadMessage{
      .files = std::move(files),
      .copies = std::move(copies),
      .spec = records.spec,
      .tensors = std::move(records.tensors),
      .table = scheduler::BlockTable(std::move(records.blocks), std::move(records.extents),
                                     std::move(pin_order), BlockId{records.header.first_head_band}),
      .inv_freq = std::move(records.inv_freq),
      .budget = records.budget,
  };
}

}  // namespace hypura::runtime
