#include "native/model/layers/lookahead.h"

#include <algorithm>

#include "native/model/layers/router.h"

namespace hypura::model {

void guess_experts(const Sweep& sweep, const LayerWeights& next) {
  if (sweep.n_entries() != 1) return;
  const uint32_t n = std::min(sweep.cache.guesses_wanted(), sweep.spec.n_expert_used);
  if (n == 0) return;
  if (sweep.cache.guess_followers(BlockId{next.moe.first_block}, sweep.spec.n_expert, n)) return;
  const Scratch& s = sweep.scratch;
  const TrunkMatrix& router = next.moe.router;
  const uint32_t n_embd = sweep.spec.n_embd;
  sweep.kernels.rms_norm(s.x, next.ffn_norm, n_embd, sweep.spec.norm_epsilon, s.thread_row);
  if (!quantize_row(sweep, s.thread_row, n_embd, router.forms(), s.gathered, 0)) return;
  const Segment segment{.matmul = router.matmul,
                        .weights = router.data,
                        .n_rows = router.n_rows,
                        .activations = s.gathered.row(router.form, 0),
                        .activation_stride = s.gathered.stride(router.form),
                        .n_positions = 1,
                        .out = s.router,
                        .out_stride = router.n_rows};
  multiply(sweep, {&segment, 1}, router.n_cols);
  if (!choose_experts(sweep.spec, sweep.kernels, s.router, next.moe.selection_bias, s.selection,
                      s.guessed, s.guess_weights))
    return;
  for (uint32_t i = 0; i < n; ++i) s.blocks[i] = BlockId{next.moe.first_block + s.guessed[i]};
  sweep.cache.guess({s.blocks, n});
}

}  // namespace hypura::model
