#include "native/runtime/measure.h"

#include "native/base/limits.h"
#include "native/model/scratch.h"
#include "native/runtime/load_checks.h"
#include "native/runtime/text.h"

namespace hypura::runtime {
namespace {

// Sizes the modules below report when a sum does not fit in 64 bits; half of it leaves room for our own additions.
constexpr uint64_t kMemoryMax = 1ull << 62;

Status check_range(const char* name, uint64_t found, uint64_t least, uint64_t most) {
  if (found >= least && found <= most) return {};
  return Status::error(Code::kInvalidArgument,
                       text(name, " is ", found, ", allowed are ", least, " to ", most));
}

uint64_t decoder_bytes(const model::ModelSpec& spec, const MeasureOptions& options) {
  return model::scratch_bytes(spec, options.batch_positions, options.logits_rows, options.threads);
}

}  // namespace

Result<MemoryMeasure> measure(const model::ModelSpec& spec, const MeasureOptions& options) {
  if (const Status status = check_spec(spec, 0); !status.ok())
    return Status::at(Code::kInvalidArgument, *status.detail()->offset_bytes, status.message());
  HYPURA_TRY(check_range("batchPositions", options.batch_positions, 1, kBatchPositionsMax));
  HYPURA_TRY(check_range("logitsRows", options.logits_rows, 1, kBatchPositionsMax));
  HYPURA_TRY(check_range("threads", options.threads, 1, kThreadsMax));
  HYPURA_TRY(check_range("contextLength", options.n_ctx, 1, kContextMax));
  HYPURA_TRY(check_range("sequences", options.n_sequences, 1, kSequencesMax));
  constexpr auto kLastType = static_cast<uint64_t>(kernels::KvType::kQ8_0);
  HYPURA_TRY(check_range("keyType", static_cast<uint64_t>(options.kv_types.k), 0, kLastType));
  HYPURA_TRY(check_range("valueType", static_cast<uint64_t>(options.kv_types.v), 0, kLastType));
  HYPURA_TRY(model::KvCache::check_types(spec, options.kv_types));

  const uint64_t kv =
      model::KvCache::kv_bytes(spec, options.n_ctx, options.n_sequences, options.kv_types);
  if (kv > kMemoryMax || decoder_bytes(spec, options) > kMemoryMax)
    return Status::error(Code::kInsufficientMemory,
                         "this context length and model shape need more than 2^62 bytes");
  Carver counter;
  const ScratchLayout layout(spec, options, nullptr, counter);
  return MemoryMeasure{.kv_bytes = kv, .scratch_bytes = counter.used_bytes()};
}

ScratchLayout::ScratchLayout(const model::ModelSpec& spec, const MeasureOptions& options,
                             const kernels::KernelSet* kernels, Carver& carver)
    : decoder(carver.take<std::byte>(decoder_bytes(spec, options)), decoder_bytes(spec, options)),
      sampler(spec.n_vocab, kernels, carver),
      sequences(options.n_sequences) {
  for (SequenceBuffers& buffers : sequences) {
    buffers.history = carver.take<uint32_t>(uint64_t{options.n_ctx} + 1);
    buffers.tokens = carver.take<TokenRecord>(kPendingTokensMax);
    buffers.logits = carver.take<float>(uint64_t{options.logits_rows} * spec.n_vocab);
  }
}

}  // namespace hypura::runtime
