// The device side of detail/step_kernels.h.

#include <ATen/ATen.h>

#include <vector>

#include "cuda/decode_step.h"
#include "libslice/decode/detail/step_kernels.h"
#include "libslice/device/detail/cuda_arguments.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::detail {

using at::Tensor;
using ops::on_device::check;
using ops::on_device::current_stream;
using ops::on_device::data_type;
using ops::on_device::pointer;

namespace {

void launch(const kernels::DecodeLinear& linear) {
  check(kernels::decode_linear(linear, current_stream()), "decode_linear");
}

void launch(const kernels::DecodeAttention& attention) {
  check(kernels::decode_attention(attention, current_stream()), "decode_attention");
}

}  // namespace

struct StepKernels::List {
  struct Normed {
    Tensor y, x;
    Norm norm;
  };

  Tensor& workspace;
  std::vector<kernels::DecodeOperation> operations;
  std::vector<Normed> norms;  // of which an operation is one, in their order
};

StepKernels::StepKernels() = default;
StepKernels::StepKernels(Tensor& workspace)
    : list_(std::make_unique<List>(List{workspace, {}, {}})) {}
StepKernels::~StepKernels() = default;

void StepKernels::run(const kernels::DecodeLinear& linear) {
  if (list_) {
    list_->operations.emplace_back(linear);
  } else {
    launch(linear);
  }
}

void StepKernels::run(const kernels::DecodeAttention& attention) {
  if (list_) {
    list_->operations.emplace_back(attention);
  } else {
    launch(attention);
  }
}

Tensor StepKernels::normed(const Tensor& x, const Norm& norm) {
  if (!list_) return norm->forward(x);
  const Tensor y = at::empty(x.sizes(), x.options());
  kernels::DecodeNorm operation;
  operation.Y = y.mutable_data_ptr();
  operation.X = pointer(x);
  operation.weight = pointer(norm->weight);
  operation.bias = pointer(norm->bias);
  operation.type = data_type(x.scalar_type());
  operation.columns = x.size(1);
  operation.eps = norm->eps();
  list_->operations.emplace_back(operation);
  list_->norms.push_back({y, x, norm});
  return y;
}

void StepKernels::flush() {
  if (!list_) return;
  auto norm = list_->norms.begin();
  for (const auto& operation : list_->operations) {
    if (const auto* linear = std::get_if<kernels::DecodeLinear>(&operation)) {
      launch(*linear);
    } else if (const auto* attention = std::get_if<kernels::DecodeAttention>(&operation)) {
      launch(*attention);
    } else {
      norm->y.copy_(norm->norm->forward(norm->x));
      ++norm;
    }
  }
  list_.reset();
}

void StepKernels::finish() {
  if (!list_ || !kernels::decode_step_runs(list_->operations)) return flush();
  const auto bytes = static_cast<int64_t>(kernels::decode_step_workspace_bytes(list_->operations));
  Tensor& workspace = list_->workspace;
  if (!workspace.defined() || workspace.numel() < bytes)
    workspace = at::empty({bytes}, at::device(at::kCUDA).dtype(at::kByte));
  void* memory = workspace.mutable_data_ptr();
  check(kernels::prepare_decode_step(list_->operations, memory), "prepare_decode_step");
  check(kernels::decode_step(list_->operations, memory, current_stream()), "decode_step");
  list_.reset();
}

}  // namespace slice::detail
