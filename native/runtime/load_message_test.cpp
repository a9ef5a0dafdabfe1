// What could break: a Load message that is cut, flipped or made up is believed, and native code reads outside the message,
// outside the model file or outside a tensor. How we notice: valid messages of three model families are accepted; every
// prefix is refused; every byte is changed in several ways and the decoder must return (ASan and UBSan watch it); and each
// check has a message that only it refuses, with the offset of the record that is wrong.
#include <functional>
#include <random>

#include "native/runtime/testing_load.h"

namespace hypura::runtime {
namespace {

using model::TensorEntry, model::TensorRole, model::TinyModel;
using scheduler::Block, scheduler::BlockKind, scheduler::Extent;

std::vector<std::byte> valid(const TinyModel& model, bool resident = true) {
  return LoadWriter(model, {.resident = resident}, "/models/tiny.gguf").write();
}

std::vector<std::byte> with_mirrors(const TinyModel& model) {
  return LoadWriter(model, {}, "/models/tiny.gguf").mirrors({"/b/tiny.gguf", "/c/tiny.gguf"}, false).write();
}

// Records of a message under construction.
class Message {
 public:
  explicit Message(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  LoadHeader& header() { return at<LoadHeader>(0); }
  model::ModelSpec& spec() { return at<model::ModelSpec>(header().specs_offset); }
  LoadBudget& budget() { return at<LoadBudget>(header().budget_offset); }
  LoadFile& file(uint32_t i = 0) { return at<LoadFile>(header().files_offset + i * sizeof(LoadFile)); }
  LoadDrive& drive(uint32_t i) { return at<LoadDrive>(header().drives_offset + i * sizeof(LoadDrive)); }
  TensorEntry& tensor(uint32_t i) { return at<TensorEntry>(header().tensors_offset + i * sizeof(TensorEntry)); }
  Block& block(uint32_t i) { return at<Block>(header().blocks_offset + i * sizeof(Block)); }
  Extent& extent(uint32_t i) { return at<Extent>(header().extents_offset + i * sizeof(Extent)); }
  uint32_t& pin(uint32_t i) { return at<uint32_t>(header().pin_order_offset + i * sizeof(uint32_t)); }
  double& inv_freq(uint32_t i) { return at<double>(header().inv_freq_offset + i * sizeof(double)); }
  TensorEntry& tensor_of(TensorRole role, uint16_t layer) {
    for (uint32_t i = 0; i < header().n_tensors; ++i)
      if (tensor(i).role == role && tensor(i).layer == layer) return tensor(i);
    testing::fail(__FILE__, __LINE__, "no such tensor");
    return tensor(0);
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  template <typename T>
  T& at(uint64_t offset) {
    return *reinterpret_cast<T*>(bytes_.data() + offset);  // sections are 8-byte aligned
  }
  std::vector<std::byte> bytes_;
};

TEST(load_accepts_dense_mixture_and_fused) {
  for (const TinyModel& model : {tiny_dense(), tiny_mixture(), tiny_mixture(true)}) {
    for (bool resident : {true, false}) {
      const auto decoded = decode_load(valid(model, resident));
      EXPECT_OK(decoded.status());
      ASSERT(decoded.ok());
      EXPECT_EQ(decoded.value().files.at(0).path, std::string("/models/tiny.gguf"));
      EXPECT_EQ(decoded.value().table.size(), static_cast<uint32_t>(model.blocks.size()));
      EXPECT_EQ(decoded.value().tensors.size(), model.tensors.size());
      EXPECT_EQ(index_of(decoded.value().table.first_head_band()), index_of(model.first_head_band));
    }
  }
}

TEST(load_refuses_every_prefix) {
  const std::vector<std::byte> bytes = with_mirrors(tiny_mixture());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> prefix(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    const auto decoded = decode_load(prefix);
    EXPECT(!decoded.ok());
    if (!decoded.ok()) EXPECT_EQ(static_cast<int>(decoded.status().code()), static_cast<int>(Code::kBadLoad));
  }
}

TEST(load_survives_every_flipped_byte) {
  uint32_t refused = 0;
  for (std::vector<std::byte> bytes : {valid(tiny_dense(), false), valid(tiny_mixture(), false), with_mirrors(tiny_dense())}) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      for (const unsigned mask : {0x01u, 0x10u, 0x80u, 0xffu}) {
        bytes[i] ^= static_cast<std::byte>(mask);
        const auto decoded = decode_load(bytes);
        refused += !decoded.ok();
        if (!decoded.ok()) EXPECT(decoded.status().detail()->offset_bytes.value_or(bytes.size()) <= bytes.size());
        bytes[i] ^= static_cast<std::byte>(mask);
      }
    }
  }
  EXPECT(refused > 1000);
}

TEST(load_survives_random_words) {
  std::mt19937_64 random(7);
  const std::vector<std::byte> originals[] = {valid(tiny_mixture()), with_mirrors(tiny_mixture())};
  constexpr uint32_t kBorders[] = {0, 1, 2, 31, 32, 255, 256, 0x7fffffff, 0x80000000, 0xffffffff};
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes = originals[round % 2];
    for (int change = 0; change < 3; ++change) {
      const uint32_t word = random() % 2 ? kBorders[random() % std::size(kBorders)] : static_cast<uint32_t>(random());
      const size_t place = random() % 2 ? random() % sizeof(LoadHeader) : random() % bytes.size();
      std::memcpy(bytes.data() + std::min(place & ~size_t{3}, bytes.size() - 4), &word, 4);
    }
    (void)decode_load(bytes);
  }
}

struct Refusal {
  const char* name;
  std::function<void(Message&)> change;
  const char* sentence;  // part of the error's message
  Code code = Code::kBadLoad;
};

void expect_refusals(const std::vector<std::byte>& bytes, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    Message message(bytes);
    refusal.change(message);
    const auto decoded = decode_load(message.bytes());
    const bool right = !decoded.ok() && decoded.status().code() == refusal.code &&
                       decoded.status().message().find(refusal.sentence) != std::string::npos &&
                       decoded.status().detail()->offset_bytes.has_value();
    if (!right)
      testing::fail(__FILE__, __LINE__,
                    std::string(refusal.name) + ": " + (decoded.ok() ? "accepted" : decoded.status().message()));
  }
}

void expect_refusals(const TinyModel& model, const std::vector<Refusal>& refusals) {
  expect_refusals(valid(model, false), refusals);
}

TEST(load_accepts_mirrors) {
  const auto decoded = decode_load(with_mirrors(tiny_dense()));
  EXPECT_OK(decoded.status());
  ASSERT(decoded.ok());
  EXPECT_EQ(decoded.value().n_files(), 1u);
  ASSERT(decoded.value().files.size() == 3);
  EXPECT_EQ(decoded.value().files[2].path, std::string("/c/tiny.gguf"));
  EXPECT(decoded.value().files[0].verified && !decoded.value().files[2].verified);
  EXPECT((decoded.value().copies.drives == std::vector<uint32_t>{0, 1, 2}));
  EXPECT_EQ(decoded.value().copies.drive_count(), 3u);
}

TEST(load_refuses_wrong_mirrors) {
  expect_refusals(with_mirrors(tiny_dense()), {
      {"no copy", [](Message& m) { m.header().n_copies = 0; }, "0 copies"},
      {"nine copies", [](Message& m) { m.header().n_copies = 9; }, "9 copies"},
      {"no drive", [](Message& m) { m.header().n_drives = 0; }, "0 drives"},
      {"nine drives", [](Message& m) { m.header().n_drives = 9; }, "9 drives"},
      {"many files", [](Message& m) { m.header().n_files = 1024; m.header().n_copies = 8; }, "passes the end"},
      {"drives outside", [](Message& m) { m.header().drives_offset = ~0ull - 8; }, "passes the end"},
      {"unknown drive", [](Message& m) { m.file(1).drive = 3; }, "drive 3 of 3"},
      {"other size", [](Message& m) { ++m.file(2).size_bytes; }, "its first copy has"},
      {"unverified original", [](Message& m) { m.file(0).verified = 0; }, "verified"},
      {"odd mark", [](Message& m) { m.file(1).verified = 2; }, "verified"},
      {"negative speed", [](Message& m) { m.drive(1).bytes_per_second = -1; }, "drive 1"},
      {"speed NaN", [](Message& m) { m.drive(2).bytes_per_second = std::nan(""); }, "drive 2"},
      {"endless speed", [](Message& m) { m.drive(0).bytes_per_second = INFINITY; }, "drive 0"},
      {"mirror without a path", [](Message& m) { m.file(2).path_bytes = 0; }, "path of file 2"},
      {"copies to map", [](Message& m) { m.budget().placement = WeightPlacement::kMapped; }, "from one copy, not from 3"},
      {"copies to copy", [](Message& m) { m.budget().placement = WeightPlacement::kCopied; }, "from one copy, not from 3"},
      {"extent in a mirror", [](Message& m) { m.extent(0).file = 1; }, "file 1"},
  });
}

TEST(load_refuses_broken_headers) {
  expect_refusals(tiny_dense(), {
      {"magic", [](Message& m) { m.header().magic = 1; }, "magic"},
      {"format", [](Message& m) { m.header().format = 2; }, "format 2"},
      {"abi", [](Message& m) { m.header().abi_version = 9; }, "ABI version 9"},
      {"two models", [](Message& m) { m.header().n_models = 2; }, "2 models"},
      {"no files", [](Message& m) { m.header().n_files = 0; }, "0 files"},
      {"many blocks", [](Message& m) { m.header().n_blocks = 0xffffffff; }, "blocks"},
      {"reserved", [](Message& m) { m.header().reserved = 1; }, "reserved"},
      {"section past the end", [](Message& m) { m.header().extents_offset = ~0ull - 8; }, "passes the end"},
      {"sections overlap", [](Message& m) { m.header().blocks_offset = m.header().tensors_offset; }, "over another"},
      {"section in the header", [](Message& m) { m.header().budget_offset = 16; }, "over another"},
      {"path outside", [](Message& m) { m.file().path_offset = 5; }, "outside the strings"},
      {"empty path", [](Message& m) { m.file().path_bytes = 0; }, "path"},
      {"empty file", [](Message& m) { m.file().size_bytes = 0; }, "0 bytes"},
      {"huge file", [](Message& m) { m.file().size_bytes = ~0ull; }, "bytes"},
  });
}

TEST(load_refuses_impossible_shapes) {
  expect_refusals(tiny_mixture(), {
      {"no layers", [](Message& m) { m.spec().n_layer = 0; }, "n_layer"},
      {"heads", [](Message& m) { m.spec().n_head = 3; }, "multiple of n_head_kv"},
      {"no kv heads", [](Message& m) { m.spec().n_head_kv = 0; }, "n_head_kv"},
      {"product", [](Message& m) { m.spec().n_head = m.spec().n_head_kv = 65536; m.spec().head_dim_k = 65536; }, "head_dim_k"},
      {"odd rotation", [](Message& m) { m.spec().n_rot = 63; }, "pairs"},
      {"rotation too wide", [](Message& m) { m.spec().n_rot = 66; }, "n_rot"},
      {"epsilon 0", [](Message& m) { m.spec().norm_epsilon = 0; }, "norm_epsilon"},
      {"epsilon NaN", [](Message& m) { m.spec().norm_epsilon = std::nanf(""); }, "norm_epsilon"},
      {"scale", [](Message& m) { m.spec().logit_scale = INFINITY; }, "logit_scale"},
      {"experts used", [](Message& m) { m.spec().n_expert_used = 9; }, "n_expert_used"},
      {"no expert used", [](Message& m) { m.spec().n_expert_used = 0; }, "n_expert_used"},
      {"gating", [](Message& m) { m.spec().gating = static_cast<model::Gating>(3); }, "gating"},
      {"lead", [](Message& m) { m.spec().n_layer_dense_lead = 3; }, "n_layer_dense_lead"},
      {"frequency", [](Message& m) { m.inv_freq(0) = -1; }, "inverse frequency 0"},
      {"frequencies", [](Message& m) { --m.header().n_inv_freq; }, "inverse frequencies"},
  });
}

TEST(load_refuses_wrong_tensors_and_blocks) {
  const TensorRole query = TensorRole::kQuery;
  expect_refusals(tiny_mixture(), {
      {"unknown role", [=](Message& m) { m.tensor_of(query, 0).role = static_cast<TensorRole>(9); }, "role 9"},
      {"role of dense layers", [=](Message& m) { m.tensor_of(query, 0).role = TensorRole::kFfnGate; }, "does not have there"},
      {"layer", [=](Message& m) { m.tensor_of(query, 0).layer = 2; }, "does not have there"},
      {"twice", [=](Message& m) { m.tensor_of(query, 1).layer = 0; }, "listed twice"},
      {"rows", [=](Message& m) { --m.tensor_of(query, 0).n_rows; }, "asks for"},
      {"type", [=](Message& m) { m.tensor_of(query, 0).type = 4; }, "type 4", Code::kUnsupported},
      {"norm stored as Q8_0", [](Message& m) { m.tensor_of(TensorRole::kFfnNorm, 0).type = 8; }, "stored as floats"},
      {"blocks outside", [=](Message& m) { m.tensor_of(query, 0).n_blocks = 0xffffffff; }, "blocks"},
      {"a band less", [=](Message& m) { --m.tensor_of(query, 0).n_blocks; }, "rows"},
      {"gap in rows", [=](Message& m) { ++m.block(m.tensor_of(query, 0).first_block + 1).row_begin; }, "expected are rows"},
      {"row band of 31", [](Message& m) { --m.block(m.tensor_of(TensorRole::kTokenEmbedding, 0xffff).first_block).row_count; }, "row band"},
      {"kind", [=](Message& m) { m.block(m.tensor_of(query, 0).first_block).kind = BlockKind::kTrunk; }, "kind"},
      {"unknown kind", [=](Message& m) { m.block(3).kind = static_cast<BlockKind>(4); }, "unknown kind"},
      {"block of another", [=](Message& m) { ++m.block(m.tensor_of(query, 0).first_block).tensor; }, "belongs to"},
      {"extents outside", [](Message& m) { m.block(0).first_extent = m.header().n_extents; }, "extents"},
      {"no extents", [](Message& m) { m.block(0).n_extents = 0; }, "extents"},
      {"expert with two", [](Message& m) { m.block(m.tensor_of(TensorRole::kExpertDown, 0).first_block).n_extents = 2; }, "is not expert"},
      {"expert number", [](Message& m) { m.block(m.tensor_of(TensorRole::kExpertDown, 1).first_block).expert = 5; }, "is not expert"},
      {"experts missing", [](Message& m) { --m.tensor_of(TensorRole::kExpertUp, 0).n_blocks; }, "experts"},
      {"other file", [](Message& m) { m.extent(0).file = 1; }, "file 1"},
      {"past the end", [](Message& m) { m.extent(0).offset_bytes = m.file().size_bytes; }, "outside file"},
      {"wraps", [](Message& m) { m.extent(0).offset_bytes = ~0ull; }, "outside file"},
      {"empty extent", [](Message& m) { m.extent(0).size_bytes = 0; }, "outside file"},
      {"a byte less", [](Message& m) { --m.extent(m.block(index_of(tiny_mixture().first_head_band)).first_extent).size_bytes; }, "have"},
      {"extent type", [](Message& m) { m.extent(m.block(index_of(tiny_mixture().first_head_band)).first_extent).type = 0; }, "type of block"},
      {"head", [](Message& m) { ++m.header().first_head_band; }, "first band"},
      {"pin twice", [](Message& m) { m.pin(1) = m.pin(0); }, "pin order"},
      {"pin no band", [](Message& m) { m.pin(0) = 0; }, "pin order"},
      {"pin outside", [](Message& m) { m.pin(0) = 0xffffffff; }, "pin order"},
      {"pins missing", [](Message& m) { --m.header().n_pin_order; }, "pin order"},
  });
}

TEST(load_refuses_bands_out_of_order) {
  // Swaps the blocks of two matrices of equal shape: every tensor is still complete, but the cycle is not the order of use.
  Message message(valid(tiny_dense()));
  TensorEntry& gate = message.tensor_of(TensorRole::kFfnGate, 0);
  TensorEntry& up = message.tensor_of(TensorRole::kFfnUp, 0);
  std::swap(gate.first_block, up.first_block);
  for (const TensorEntry* tensor : {&gate, &up})
    for (uint32_t i = 0; i < tensor->n_blocks; ++i)
      message.block(tensor->first_block + i).tensor = static_cast<uint32_t>(tensor - &message.tensor(0));
  const auto decoded = decode_load(message.bytes());
  EXPECT(!decoded.ok());
  EXPECT(decoded.status().message().find("those used before") != std::string::npos);
}

TEST(load_refuses_missing_tensors) {
  // Leaves out the last tensor of the table: its role is then missing, or its blocks belong to nobody.
  Message message(valid(tiny_dense()));
  --message.header().n_tensors;
  const auto decoded = decode_load(message.bytes());
  EXPECT(!decoded.ok());
  EXPECT(decoded.status().message().find("missing") != std::string::npos);
}

TEST(load_refuses_budgets_that_do_not_hold) {
  expect_refusals(tiny_mixture(), {
      {"sum", [](Message& m) { --m.budget().budget_bytes; }, "together"},
      {"sum in pages", [](Message& m) { m.budget().scratch_bytes = align_up(m.budget().scratch_bytes, 4096) + 1; ++m.budget().budget_bytes; }, "together"},
      {"sum wraps", [](Message& m) { m.budget().kv_bytes = ~0ull; }, "64 bits"},
      {"pool wraps", [](Message& m) { m.budget().pool_slot_bytes = 1ull << 62; m.budget().pool_slots = 4; }, "64 bits"},
      {"trunk", [](Message& m) { --m.budget().trunk_bytes; }, "trunk_bytes"},
      {"pinned", [](Message& m) { --m.budget().pinned_bytes; }, "pinned_bytes"},
      {"ring", [](Message& m) { m.budget().ring_bytes = 4096; }, "ring_bytes"},
      {"odd ring", [](Message& m) { m.budget().ring_bytes += 1; }, "ring_bytes"},
      {"one pool slot", [](Message& m) { m.budget().pool_slots = 1; }, "pool_slots"},
      {"pool slot", [](Message& m) { m.budget().pool_slot_bytes -= 4096; }, "pool_slot_bytes"},
      {"row slot", [](Message& m) { m.budget().row_slot_bytes = 0; }, "row_slot_bytes"},
      {"no row slots", [](Message& m) { m.budget().row_slots = 0; }, "row_slots"},
      {"pins", [](Message& m) { m.budget().pin_count = 0xffffffff; }, "pin_count"},
      {"context", [](Message& m) { m.budget().n_ctx = 300; }, "n_ctx"},
      {"batch", [](Message& m) { m.budget().batch_positions = 513; }, "batch_positions"},
      {"rows", [](Message& m) { m.budget().logits_rows = 0; }, "logits_rows"},
      {"sequences", [](Message& m) { m.budget().n_sequences = 0; }, "n_sequences"},
      {"placement", [](Message& m) { m.budget().placement = WeightPlacement{3}; }, "placement"},
      {"type of keys", [](Message& m) { m.budget().k_type = kernels::KvType{2}; }, "k_type"},
      {"type of values", [](Message& m) { m.budget().v_type = kernels::KvType{0xffffffff}; }, "v_type"},
  });
  const auto without_cache = [](Message& m, WeightPlacement placement) {
    LoadBudget& b = m.budget();
    b.trunk_bytes = b.pinned_bytes = b.ring_bytes = b.pool_slot_bytes = b.row_slot_bytes = 0;
    b.pool_slots = b.row_slots = b.pin_count = 0;
    b.placement = placement;
  };
  expect_refusals(tiny_mixture(), {
      {"rows beside a map", [&](Message& m) { without_cache(m, WeightPlacement::kMapped); m.budget().row_slots = 1; }, "row_slots"},
      {"pins beside a map", [&](Message& m) { without_cache(m, WeightPlacement::kMapped); m.budget().pin_count = 1; }, "pin_count"},
      {"a copy without room", [&](Message& m) { without_cache(m, WeightPlacement::kCopied); }, "pinned_bytes"},
  });
  expect_refusals(tiny_dense(), {
      {"slots for no expert", [](Message& m) { m.budget().pool_slots = 2; }, "pool_slots"},
  });
}

}  // namespace
}  // namespace hypura::runtime
