#include "libslice/decode/detail/decode_weights.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/device/detail/ops_cuda.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Elements from one reader's row i to the next one's in the joint matrix.
int64_t step_between(const Tensor& weight, bool interleaved) {
  return (interleaved ? 1 : weight.size(0)) * weight.size(1);
}

/// Whether the weights are views of a joint matrix already.
bool is_joint(const std::vector<LinearRef>& readers, bool interleaved) {
  const int64_t row_stride =
      readers[0].weight.size(1) * (interleaved ? static_cast<int64_t>(readers.size()) : 1);
  int64_t offset = readers[0].weight.storage_offset();
  return std::all_of(readers.begin(), readers.end(), [&](const LinearRef& reader) {
    const Tensor& weight = reader.weight;
    const bool fits = weight.is_alias_of(readers[0].weight) && weight.storage_offset() == offset &&
                      weight.stride(0) == row_stride && weight.stride(1) == 1;
    offset += step_between(weight, interleaved);
    return fits;
  });
}

/// The readers as one matrix (rows, k) that their weights are views of.
Tensor joint(const std::vector<LinearRef>& readers, bool interleaved) {
  const Tensor& first = readers[0].weight;
  if (readers.size() == 1) return first.contiguous();
  if (is_joint(readers, interleaved)) {
    int64_t rows = 0;
    for (const LinearRef& reader : readers) rows += reader.weight.size(0);
    return first.as_strided({rows, first.size(1)}, {first.size(1), 1}, first.storage_offset());
  }
  std::vector<Tensor> weights;
  for (const LinearRef& reader : readers) weights.push_back(reader.weight.detach());
  const Tensor matrix = interleaved ? at::stack(weights, 1).flatten(0, 1) : at::cat(weights);
  int64_t row = 0;
  for (size_t i = 0; i < readers.size(); ++i) {
    const int64_t rows = weights[i].size(0);
    const Tensor view =
        interleaved ? matrix.view({rows, static_cast<int64_t>(readers.size()), matrix.size(1)})
                          .select(1, static_cast<int64_t>(i))
                    : matrix.slice(0, row, row + rows);
    readers[i].weight.set_data(view);
    row += rows;
  }
  return matrix;
}

/// The biases in the order of the joint rows; small, so they are copies.
Tensor joint_bias(const std::vector<LinearRef>& readers, bool interleaved) {
  const bool any = std::any_of(readers.begin(), readers.end(),
                               [](const LinearRef& reader) { return reader.bias.defined(); });
  if (!any) return {};
  std::vector<Tensor> biases;
  for (const LinearRef& reader : readers) {
    biases.push_back(reader.bias.defined()
                         ? reader.bias
                         : at::zeros({reader.weight.size(0)}, reader.weight.options()));
  }
  return interleaved ? at::stack(biases, 1).flatten() : at::cat(biases);
}

}  // namespace

std::vector<DecodeSublayer> lay_out_for_decoding(const ModelAdapter& model) {
  const at::NoGradGuard no_grad;
  std::vector<DecodeSublayer> sublayers;
  for (const Sublayer& s : model.sublayers) {
    DecodeSublayer sublayer{
        .branches = {}, .scale = s.scale, .out_norm = s.out_norm, .shortcut = s.shortcut};
    bool moved = false;
    for (const Branch& branch : s.branches) {
      const void* before = branch.readers[0].weight.const_data_ptr();
      const bool gated = branch.channels && branch.readers.size() == 2;
      sublayer.branches.push_back({.norm = s.norm_of(branch),
                                   .readers = joint(branch.readers, gated),
                                   .readers_bias = joint_bias(branch.readers, gated),
                                   .writer = branch.writer.weight.contiguous(),
                                   .writer_bias = branch.writer.bias,
                                   .attention = !branch.channels,
                                   .gated = gated});
      moved |= branch.readers[0].weight.const_data_ptr() != before;
    }
    sublayers.push_back(std::move(sublayer));
    // What the readers were lies in pieces that are too small for the next ones.
    if (moved && model.head.weight.is_cuda()) ops::on_device::release_cached_memory();
  }
  return sublayers;
}

}  // namespace slice::detail
