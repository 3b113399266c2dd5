#pragma once

#include <functional>
#include <memory>

namespace at::cuda {
struct CUDAGraph;
}

namespace slice::detail {

/// A step as a CUDA graph. It is run once first, which loads its kernels and cuBLAS (a capture may
/// not), and `restore` undoes that, after a failure too. All on a stream of LibTorch's pool, which a
/// capture needs, between what the current stream did and what it will do.
std::unique_ptr<at::cuda::CUDAGraph> captured(const std::function<void()>& step,
                                              const std::function<void()>& restore);

}  // namespace slice::detail
