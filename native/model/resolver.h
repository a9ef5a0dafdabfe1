// Hands out the tensors of a model checked: present, of the expected shape, of a type with kernels, in execution order.
//
// The first error sticks and what is handed out after it is empty, so that the description of a layer reads as a list.
// Thread: of Decoder::create() only.   Allocates: yes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/base/status.h"
#include "native/model/decoder.h"
#include "native/model/weights.h"

namespace hypura::model {

// kBadLoad, naming the tensor.
Status bad_tensor(TensorRole role, uint16_t layer, const std::string& what);

class Resolver {
 public:
  // parts must outlive the resolver.
  explicit Resolver(const DecoderParts& parts);

  bool has(TensorRole role, uint16_t layer) { return slot(role, layer) != nullptr; }

  // (n_cols) floats: in the trunk where they can be used as they lie, else a copy. Null when missing, and it may be.
  const float* vector(TensorRole role, uint16_t layer, uint32_t n_cols, bool required);

  // Empty when missing, and it may be.
  TrunkMatrix trunk(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                    bool required);

  // Called in the order of execution, because the ring hands bands out in ascending order. adjacent: this matrix follows
  // the one before without a gap, so that one run of bands spans both.
  BandMatrix bands(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                   bool adjacent);

  // A tensor whose blocks are experts; n_rows and n_cols of one expert. Null after an error.
  const TensorEntry* experts(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols);
  // type: as the expert's extent says it, which may differ between experts.
  ExpertMatrix expert_matrix(TensorRole role, uint16_t layer, uint32_t type, uint32_t n_cols);

  // Fills the embedding's fields of `weights`.
  void embedding();

  void fail(Status status);
  const Status& status() const { return status_; }

  ModelWeights weights;

 private:
  const TensorEntry*& slot(TensorRole role, uint16_t layer);
  const TensorEntry* checked(TensorRole role, uint16_t layer, uint32_t n_rows, uint32_t n_cols,
                             bool required);
  const kernels::QuantTypeInfo* type_of(TensorRole role, uint16_t layer, uint32_t type,
                                        uint32_t n_cols);
  MatrixShape shape_of(const TensorEntry& tensor);
  void fail_without_kernel(const TensorEntry& tensor, const kernels::QuantTypeInfo& type);

  const DecoderParts& parts_;
  // [n_layer + 1][roles]; the last row is the model's own.
  std::vector<const TensorEntry*> by_role_;
  uint32_t next_band_ = 0;
  Status status_;
};

}  // namespace hypura::model
