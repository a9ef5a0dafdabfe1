#include "native/runtime/layout.h"

#include <cstddef>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

#include "native/base/limits.h"
#include "native/kernels/quant_types.h"
#include "native/runtime/code_names.h"
#include "native/runtime/counters.h"
#include "native/runtime/load_message.h"
#include "native/runtime/token_record.h"
#include "native/scheduler/event_ring.h"
#include "native/scheduler/plan.h"

namespace hypura::runtime {
namespace {

template <typename T>
constexpr const char* type_name() {
  if constexpr (std::is_enum_v<T>) {
    return type_name<std::underlying_type_t<T>>();
  } else if constexpr (std::is_same_v<T, float>) {
    return "f32";
  } else if constexpr (std::is_same_v<T, double>) {
    return "f64";
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return "i64";
  } else {
    static_assert(std::is_unsigned_v<T>);
    return sizeof(T) == 1 ? "u8" : sizeof(T) == 2 ? "u16" : sizeof(T) == 4 ? "u32" : "u64";
  }
}

// n_layer_dense_lead -> nLayerDenseLead
std::string camel(std::string_view snake) {
  std::string out;
  bool raise = false;
  for (char c : snake) {
    if (c == '_') {
      raise = true;
    } else {
      out += raise && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
      raise = false;
    }
  }
  return out;
}

// Builds {"key": value, …}; values are JSON already.
class JsonObject {
 public:
  JsonObject& add(std::string_view key, const std::string& value) {
    text_ += (text_.empty() ? "\"" : ",\"") + std::string(key) + "\":" + value;
    return *this;
  }
  JsonObject& add(std::string_view key, uint64_t value) { return add(key, std::to_string(value)); }
  std::string text() const { return "{" + text_ + "}"; }

 private:
  std::string text_;
};

class Record {
 public:
  explicit Record(size_t size) : size_(size) {}
  template <typename T>
  Record& field(std::string_view name, size_t offset) {
    JsonObject field;
    field.add("offset", offset).add("type", "\"" + std::string(type_name<T>()) + "\"");
    fields_.add(camel(name), field.text());
    return *this;
  }
  std::string text() const {
    return JsonObject().add("size", size_).add("fields", fields_.text()).text();
  }

 private:
  size_t size_;
  JsonObject fields_;
};

#define FIELD(Type, name) field<decltype(Type::name)>(#name, offsetof(Type, name))

std::string load_file() {
  using T = LoadFile;
  return Record(sizeof(T))
      .FIELD(T, size_bytes).FIELD(T, mtime_ns).FIELD(T, inode).FIELD(T, device)
      .FIELD(T, path_offset).FIELD(T, path_bytes).FIELD(T, drive).FIELD(T, verified).text();
}

std::string load_drive() {
  using T = LoadDrive;
  return Record(sizeof(T)).FIELD(T, bytes_per_second).text();
}

std::string load_budget() {
  using T = LoadBudget;
  return Record(sizeof(T))
      .FIELD(T, budget_bytes).FIELD(T, trunk_bytes).FIELD(T, pinned_bytes).FIELD(T, ring_bytes)
      .FIELD(T, pool_slot_bytes).FIELD(T, row_slot_bytes).FIELD(T, kv_bytes).FIELD(T, scratch_bytes)
      .FIELD(T, pool_slots).FIELD(T, row_slots).FIELD(T, pin_count).FIELD(T, n_ctx)
      .FIELD(T, n_sequences).FIELD(T, batch_positions).FIELD(T, logits_rows)
      .FIELD(T, placement).FIELD(T, k_type).FIELD(T, v_type).text();
}

std::string load_header() {
  using T = LoadHeader;
  return Record(sizeof(T))
      .FIELD(T, magic).FIELD(T, format).FIELD(T, abi_version).FIELD(T, n_files).FIELD(T, n_models)
      .FIELD(T, n_tensors).FIELD(T, n_blocks).FIELD(T, n_extents).FIELD(T, n_pin_order)
      .FIELD(T, first_head_band).FIELD(T, n_inv_freq).FIELD(T, n_copies).FIELD(T, n_drives)
      .FIELD(T, reserved).FIELD(T, files_offset).FIELD(T, drives_offset)
      .FIELD(T, specs_offset).FIELD(T, tensors_offset)
      .FIELD(T, blocks_offset).FIELD(T, extents_offset).FIELD(T, pin_order_offset).FIELD(T, inv_freq_offset)
      .FIELD(T, budget_offset).FIELD(T, strings_offset).FIELD(T, strings_bytes).text();
}

std::string model_spec() {
  using T = model::ModelSpec;
  return Record(sizeof(T))
      .FIELD(T, n_layer).FIELD(T, n_embd).FIELD(T, n_head).FIELD(T, n_head_kv).FIELD(T, head_dim_k)
      .FIELD(T, head_dim_v).FIELD(T, n_ff).FIELD(T, n_vocab).FIELD(T, n_expert)
      .FIELD(T, n_expert_used).FIELD(T, n_ff_expert).FIELD(T, n_ff_shared).FIELD(T, n_layer_dense_lead).FIELD(T, n_rot)
      .FIELD(T, rope).FIELD(T, qk_norm).FIELD(T, activation).FIELD(T, gating)
      .FIELD(T, gating_normalised).FIELD(T, norm_epsilon).FIELD(T, attention_scale)
      .FIELD(T, rope_magnitude).FIELD(T, expert_weights_scale).FIELD(T, embedding_scale)
      .FIELD(T, residual_scale).FIELD(T, logit_scale).text();
}

std::string tensor_entry() {
  using T = model::TensorEntry;
  return Record(sizeof(T))
      .FIELD(T, role).FIELD(T, layer).FIELD(T, type).FIELD(T, n_rows).FIELD(T, n_cols)
      .FIELD(T, first_block).FIELD(T, n_blocks).text();
}

std::string block() {
  using T = scheduler::Block;
  return Record(sizeof(T))
      .FIELD(T, tensor).FIELD(T, layer).FIELD(T, expert).FIELD(T, kind).FIELD(T, n_extents)
      .FIELD(T, reserved).FIELD(T, first_extent).FIELD(T, row_begin).FIELD(T, row_count).text();
}

std::string extent() {
  using T = scheduler::Extent;
  return Record(sizeof(T))
      .FIELD(T, file).FIELD(T, type).FIELD(T, offset_bytes).FIELD(T, size_bytes).text();
}

std::string plan_header() {
  using T = scheduler::PlanHeader;
  return Record(sizeof(T))
      .FIELD(T, magic).FIELD(T, format).FIELD(T, sequence_number).FIELD(T, n_blocks)
      .FIELD(T, pin_count).FIELD(T, prefill_admission).FIELD(T, n_hold).FIELD(T, n_warm)
      .FIELD(T, score_offset).FIELD(T, hold_offset).FIELD(T, warm_offset)
      .FIELD(T, guess_mode).FIELD(T, guesses_max).FIELD(T, guess_source).FIELD(T, n_relations)
      .FIELD(T, n_followers).FIELD(T, n_rows).FIELD(T, first_row).FIELD(T, reserved)
      .FIELD(T, relation_offset).FIELD(T, base_offset).FIELD(T, follower_offset).text();
}

std::string follow_relation() {
  using T = scheduler::FollowRelation;
  return Record(sizeof(T)).FIELD(T, of).FIELD(T, distance).text();
}

std::string follower() {
  using T = scheduler::Follower;
  return Record(sizeof(T)).FIELD(T, expert).FIELD(T, weight).text();
}

// The 16 bytes of data are read by kind, from `data` on.
std::string event() {
  using T = scheduler::Event;
  return Record(sizeof(T))
      .FIELD(T, time_ns).FIELD(T, sweep).FIELD(T, layer).FIELD(T, kind).FIELD(T, count)
      .field<uint32_t>("data", offsetof(T, words)).text();
}

std::string token_record() {
  using T = TokenRecord;
  return Record(sizeof(T))
      .FIELD(T, token).FIELD(T, position).FIELD(T, log_probability).FIELD(T, flags).text();
}

#undef FIELD

template <typename E>
JsonObject numbers(std::initializer_list<std::pair<const char*, E>> rows) {
  JsonObject object;
  for (const auto& [name, value] : rows) object.add(name, static_cast<uint64_t>(value));
  return object;
}

std::string tensor_roles() {
  using enum model::TensorRole;
  return numbers<model::TensorRole>({
      {"tokenEmbedding", kTokenEmbedding}, {"outputNorm", kOutputNorm}, {"output", kOutput},
      {"outputBias", kOutputBias}, {"attentionNorm", kAttentionNorm}, {"query", kQuery},
      {"key", kKey}, {"value", kValue}, {"attentionOutput", kAttentionOutput},
      {"queryBias", kQueryBias}, {"keyBias", kKeyBias}, {"valueBias", kValueBias},
      {"attentionOutputBias", kAttentionOutputBias}, {"queryNorm", kQueryNorm},
      {"keyNorm", kKeyNorm}, {"attentionPostNorm", kAttentionPostNorm}, {"ffnNorm", kFfnNorm},
      {"ffnGate", kFfnGate}, {"ffnUp", kFfnUp}, {"ffnDown", kFfnDown},
      {"ffnGateBias", kFfnGateBias}, {"ffnUpBias", kFfnUpBias}, {"ffnDownBias", kFfnDownBias},
      {"ffnPostNorm", kFfnPostNorm}, {"router", kRouter},
      {"routerSelectionBias", kRouterSelectionBias}, {"expertGate", kExpertGate},
      {"expertUp", kExpertUp}, {"expertDown", kExpertDown}, {"expertGateUp", kExpertGateUp},
      {"sharedGate", kSharedGate}, {"sharedUp", kSharedUp}, {"sharedDown", kSharedDown},
      {"sharedRouter", kSharedRouter},
  }).text();
}

std::string quant_types() {
  using enum kernels::QuantType;
  return numbers<kernels::QuantType>({
      {"F32", kF32}, {"F16", kF16}, {"Q4_0", kQ4_0}, {"Q4_1", kQ4_1}, {"Q5_0", kQ5_0},
      {"Q5_1", kQ5_1}, {"Q8_0", kQ8_0}, {"Q2_K", kQ2_K}, {"Q3_K", kQ3_K}, {"Q4_K", kQ4_K},
      {"Q5_K", kQ5_K}, {"Q6_K", kQ6_K}, {"IQ4_NL", kIQ4_NL}, {"IQ4_XS", kIQ4_XS}, {"BF16", kBF16},
      {"MXFP4", kMXFP4},
  }).text();
}

std::string enums() {
  using scheduler::BlockKind, scheduler::EventKind, scheduler::FollowOf, scheduler::GuessMode,
      scheduler::GuessSource, scheduler::PrefillAdmission;
  using model::Activation, model::Gating, model::QkNorm, model::RopeKind;
  JsonObject codes, counters, copies;
  for (uint32_t i = 0; i < kCopyIndexCount; ++i) copies.add(kCopyIndexNames[i], i);
  for (size_t i = 0; i < kCodeNames.size(); ++i) codes.add(kCodeNames[i], i);
  for (uint32_t i = 0; i < kCounterCount; ++i) counters.add(kCounterNames[i], i);
  return JsonObject()
      .add("tensorRole", tensor_roles())
      .add("blockKind", numbers<BlockKind>({{"trunk", BlockKind::kTrunk},
                                            {"band", BlockKind::kBand},
                                            {"rowBand", BlockKind::kRowBand},
                                            {"expert", BlockKind::kExpert}}).text())
      .add("eventKind", numbers<EventKind>({{"route", EventKind::kRoute},
                                            {"read", EventKind::kRead},
                                            {"stall", EventKind::kStall},
                                            {"evict", EventKind::kEvict},
                                            {"token", EventKind::kToken},
                                            {"fault", EventKind::kFault},
                                            {"guess", EventKind::kGuess},
                                            {"absent", EventKind::kAbsent},
                                            {"sweep", EventKind::kSweep}}).text())
      .add("guessMode", numbers<GuessMode>({{"off", GuessMode::kOff},
                                            {"shadow", GuessMode::kShadow},
                                            {"retain", GuessMode::kRetain},
                                            {"prefetch", GuessMode::kPrefetch}}).text())
      .add("guessSource", numbers<GuessSource>({{"router", GuessSource::kRouter},
                                                {"table", GuessSource::kTable}}).text())
      .add("followOf", numbers<FollowOf>({{"layer", FollowOf::kLayer},
                                          {"token", FollowOf::kToken}}).text())
      .add("prefillAdmission",
           numbers<PrefillAdmission>({{"normal", PrefillAdmission::kNormal},
                                      {"keepHits", PrefillAdmission::kKeepHits},
                                      {"bypass", PrefillAdmission::kBypass}}).text())
      .add("ropeKind", numbers<RopeKind>({{"none", RopeKind::kNone},
                                          {"norm", RopeKind::kNorm},
                                          {"neox", RopeKind::kNeox}}).text())
      .add("qkNorm", numbers<QkNorm>({{"none", QkNorm::kNone},
                                      {"perHead", QkNorm::kPerHead},
                                      {"wholeRow", QkNorm::kWholeRow}}).text())
      .add("activation", numbers<Activation>({{"silu", Activation::kSilu},
                                              {"geluTanh", Activation::kGeluTanh}}).text())
      .add("gating", numbers<Gating>({{"softmax", Gating::kSoftmax},
                                      {"sigmoid", Gating::kSigmoid},
                                      {"softmaxAfterTopK", Gating::kSoftmaxAfterTopK}}).text())
      .add("weightPlacement",
           numbers<WeightPlacement>({{"cache", WeightPlacement::kCache},
                                     {"mapped", WeightPlacement::kMapped},
                                     {"copied", WeightPlacement::kCopied}}).text())
      .add("kvType", numbers<kernels::KvType>({{"f16", kernels::KvType::kF16},
                                               {"q8_0", kernels::KvType::kQ8_0}}).text())
      .add("quantType", quant_types())
      .add("nativeCode", codes.text())
      .add("counterIndex", counters.text())
      .add("copyIndex", copies.text())
      .add("copyState", numbers<scheduler::CopyState>({{"healthy", scheduler::CopyState::kHealthy},
                                                       {"failing", scheduler::CopyState::kFailing},
                                                       {"dropped", scheduler::CopyState::kDropped}})
                            .text())
      .add("tokenFlag", numbers<uint32_t>({{"stop", kTokenFlagStop}}).text())
      .text();
}

std::string limits() {
  return JsonObject()
      .add("readBytesMax", kReadBytesMax)
      .add("directAlignmentBytes", kDirectAlignmentBytes)
      .add("hugePageBytes", kHugePageBytes)
      .add("ioDepthDefault", kIoDepthDefault)
      .add("guessesMax", kGuessesMax)
      .add("followRelationsMax", kFollowRelationsMax)
      .add("followersMax", kFollowersMax)
      .add("followLayersMax", kFollowLayersMax)
      .add("ioDepthMax", kIoDepthMax)
      .add("copiesMax", kCopiesMax)
      .add("drivesMax", kDrivesMax)
      .add("extentsPerBlockMax", kExtentsPerBlockMax)
      .add("rowsPerRowBand", kRowsPerRowBand)
      .add("positionsPerPage", kPositionsPerPage)
      .add("batchPositionsMax", kBatchPositionsMax)
      .add("layersMax", kLayersMax)
      .add("expertsMax", kExpertsMax)
      .add("threadsMax", kThreadsMax)
      .add("filesMax", kFilesMax)
      .add("blocksMax", kBlocksMax)
      .add("measureBlockBytesMax", kMeasureBlockBytesMax)
      .add("measureOffsetsMax", kMeasureOffsetsMax)
      .add("eventRingRecords", kEventRingRecords)
      .add("pendingTokensMax", kPendingTokensMax)
      .text();
}

}  // namespace

std::string layout_json() {
  return JsonObject()
      .add("abiVersion", kAbiVersion)
      .add("loadMagic", kLoadMagic)
      .add("loadFormat", kLoadFormat)
      .add("planMagic", scheduler::kPlanMagic)
      .add("planFormat", scheduler::kPlanFormat)
      .add("records", JsonObject()
                          .add("LoadHeader", load_header())
                          .add("LoadFile", load_file())
                          .add("LoadDrive", load_drive())
                          .add("LoadBudget", load_budget())
                          .add("ModelSpec", model_spec())
                          .add("TensorEntry", tensor_entry())
                          .add("Block", block())
                          .add("Extent", extent())
                          .add("PlanHeader", plan_header())
                          .add("FollowRelation", follow_relation())
                          .add("Follower", follower())
                          .add("Event", event())
                          .add("TokenRecord", token_record())
                          .text())
      .add("enums", enums())
      .add("limits", limits())
      .text();
}

}  // namespace hypura::runtime
