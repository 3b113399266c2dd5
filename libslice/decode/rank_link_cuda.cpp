// The device side of detail/rank_link.h.

#include <ATen/ATen.h>

#include <algorithm>

#include "cuda/all_reduce.h"
#include "libslice/decode/detail/rank_link.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::detail {

using at::Tensor;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;
using ops::on_device::pointer;

RankLink::RankLink(const kernels::PeerRanks& peers)
    : peers_(peers), ranks_(peers.ranks), rank_(peers.rank) {}

Tensor RankLink::reduced(const Tensor& part, const Tensor& x, const Tensor& diagonal,
                         int64_t residual_columns) const {
  kernels::AllReduce reduce;
  reduce.Y = part.mutable_data_ptr();
  reduce.X = pointer(part);
  reduce.R = pointer(x);
  reduce.diagonal = pointer(diagonal);
  reduce.type = data_type(part.scalar_type());
  reduce.M = part.size(0);
  reduce.N = part.size(1);
  reduce.residual_columns = residual_columns;
  reduce.r_row_stride = x.defined() ? x.stride(0) : 0;
  check(kernels::all_reduce(reduce, peers_, current_stream()), "all_reduce");
  return part;
}

Tensor RankLink::sum(const Tensor& part) const { return reduced(part, {}, {}, 0); }

Tensor RankLink::sum(const Tensor& part, const Tensor& x, const Shortcut& shortcut) const {
  const Tensor& weight = shortcut->weight;
  if (weight.defined() && weight.dim() == 2) return sum(part);
  return reduced(part, x, weight,
                 weight.defined() ? weight.size(0) : std::min(x.size(1), part.size(1)));
}

void RankLink::gather_words(const Tensor& own, Tensor& logits) const {
  kernels::AllGather gather;
  gather.Y = logits.mutable_data_ptr();
  gather.X = pointer(own);
  gather.type = data_type(own.scalar_type());
  gather.M = own.size(0);
  for (int rank = 0; rank < peers_.ranks; ++rank)
    gather.begins[rank + 1] = aligned_part(logits.size(1), ranks_, rank).second;
  check(kernels::all_gather(gather, peers_, current_stream()), "all_gather");
}

}  // namespace slice::detail
