#pragma once

#include <vector>

#include "libslice/model/adapter.h"

namespace slice::detail {

/// What is between a norm and the addition, as decoding reads it: all readers one matrix.
struct DecodeBranch {
  Norm norm{nullptr};  ///< that the readers read
  /// (rows, k), (rows): q, k and v one below the other; of a gated MLP rows 2i and 2i + 1 are gate
  /// and up of channel i.
  at::Tensor readers, readers_bias;
  at::Tensor writer, writer_bias;  ///< (k_b, in), (k_b)
  bool attention = false;
  bool gated = false;
};

struct DecodeSublayer {
  std::vector<DecodeBranch> branches;
  double scale = 1;        ///< of what the writers write
  Norm out_norm{nullptr};  ///< of it, where it has one
  Shortcut shortcut{nullptr};
};

/// Lays the weights of every sublayer out for decoding. The readers' own tensors become views of
/// the joint ones, so the model keeps its function and no weight is held twice; a model that was
/// laid out before is left as it is. Memory: one sublayer's readers on top of the model.
std::vector<DecodeSublayer> lay_out_for_decoding(const ModelAdapter& model);

}  // namespace slice::detail
