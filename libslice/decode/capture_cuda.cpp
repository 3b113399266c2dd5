// The device side of detail/capture.h.

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "libslice/decode/detail/capture.h"
#include "libslice/device/detail/cuda_status.h"

namespace slice::detail {

using ops::on_device::check;

namespace {

/// A throw ends the capture.
std::unique_ptr<at::cuda::CUDAGraph> capture(const std::function<void()>& step) {
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  try {
    step();
  } catch (...) {
    try {
      graph->capture_end();
    } catch (const c10::Error&) {  // of the broken capture; the first error says more
    }
    throw;
  }
  graph->capture_end();
  return graph;
}

}  // namespace

std::unique_ptr<at::cuda::CUDAGraph> captured(const std::function<void()>& step,
                                              const std::function<void()>& restore) {
  const c10::cuda::CUDAStream outer = c10::cuda::getCurrentCUDAStream();
  const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
  check(cudaStreamSynchronize(outer.stream()), "cudaStreamSynchronize");
  std::unique_ptr<at::cuda::CUDAGraph> graph;
  {
    const c10::cuda::CUDAStreamGuard guard(side);
    try {
      step();
      restore();
      check(cudaStreamSynchronize(side.stream()), "cudaStreamSynchronize");
      graph = capture(step);
    } catch (...) {
      restore();  // throws where the device has failed for good
      check(cudaStreamSynchronize(side.stream()), "cudaStreamSynchronize");
      throw;
    }
  }
  check(cudaStreamSynchronize(side.stream()), "cudaStreamSynchronize");
  return graph;
}

}  // namespace slice::detail
