// In place of decode_graph_cuda.cpp, packed_model_cuda.cpp, peer_memory_cuda.cpp and what they are
// made of.

#include <ATen/core/Tensor.h>

#include "libslice/base/error.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/decode_model.h"
#include "libslice/decode/detail/peer_memory.h"
#include "libslice/decode/detail/rank_link.h"
#include "libslice/decode/packed_model.h"

namespace slice {

std::unique_ptr<detail::Decoding> detail::make_decode_graph(const DecoderImpl&, KvCache&,
                                                            const RankLink*) {
  return nullptr;
}

std::unique_ptr<detail::RowDecoding> detail::make_row_graph(const DecoderImpl&, KvCache&,
                                                            const RankLink*) {
  return nullptr;
}

std::unique_ptr<detail::PeerMemory> detail::make_peer_memory(const std::vector<at::Device>&) {
  throw DeviceError("several GPUs: libslice was built without CUDA");
}

std::unique_ptr<detail::PeerMemory> detail::make_peer_memory(at::Device, const ProcessGroup&) {
  throw DeviceError("several GPUs: libslice was built without CUDA");
}

detail::RankLink::RankLink(const kernels::PeerRanks& peers) : peers_(peers), ranks_(1), rank_(0) {}

bool PackedModel::runs(const Model&) { return false; }

PackedModel::PackedModel(const Model&, int64_t) {
  throw ArgumentError("packed texts: libslice was built without CUDA");
}

at::Tensor PackedModel::stream(const PackedTexts&) const {
  throw ArgumentError("packed texts: libslice was built without CUDA");
}

}  // namespace slice
