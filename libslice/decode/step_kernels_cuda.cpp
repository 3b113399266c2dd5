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

namespace {

void launch(const kernels::DecodeLinear& linear) {
  check(kernels::decode_linear(linear, current_stream()), "decode_linear");
}

void launch(const kernels::DecodeAttention& attention) {
  check(kernels::decode_attention(attention, current_stream()), "decode_attention");
}

}  // namespace

struct StepKernels::List {
  Tensor& workspace;
  std::vector<kernels::DecodeOperation> operations;
};

StepKernels::StepKernels() = default;
StepKernels::StepKernels(Tensor& workspace) : list_(std::make_unique<List>(List{workspace, {}})) {}
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

void StepKernels::flush() {
  if (!list_) return;
  for (const auto& operation : list_->operations)
    std::visit([](const auto& any) { launch(any); }, operation);
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
