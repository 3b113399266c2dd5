// In place of decode_graph_cuda.cpp, packed_model_cuda.cpp and what they are made of.

#include <ATen/core/Tensor.h>

#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/packed_model.h"

namespace slice {

std::unique_ptr<detail::Decoding> detail::make_decode_graph(const DecoderImpl&, KvCache&) {
  return nullptr;
}

std::unique_ptr<detail::RowDecoding> detail::make_row_graph(const DecoderImpl&, KvCache&) {
  return nullptr;
}

bool PackedModel::runs(const Model&) { return false; }

PackedModel::PackedModel(const Model&, int64_t) {
  throw ArgumentError("packed texts: libslice was built without CUDA");
}

at::Tensor PackedModel::stream(const PackedTexts&) const {
  throw ArgumentError("packed texts: libslice was built without CUDA");
}

}  // namespace slice
