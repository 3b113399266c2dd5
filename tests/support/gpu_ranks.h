#pragma once

#include <c10/cuda/CUDAFunctions.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <vector>

#include "libslice/decode/divided_model.h"
#include "libslice/device/process_group.h"
#include "tests/support/require_gpu.h"

namespace slice::tests {

/// The processes of torchrun's variables, which share a GPU; one where there are none.
inline const ProcessGroup& process_ranks() {
  static const auto meeting = rendezvous_from_environment();
  static const ProcessGroup group =
      meeting ? ProcessGroup(*meeting, at::Device(at::kCUDA, 0), std::chrono::minutes(1))
              : ProcessGroup();
  return group;
}

inline const std::vector<at::Device> kBothGpus = {at::Device(at::kCUDA, 0),
                                                  at::Device(at::kCUDA, 1)};

inline void require_two_gpus() {
  require_gpu();
  if (c10::cuda::device_count() < 2) SKIP("one CUDA device");
  if (!process_ranks().alone()) SKIP("one GPU a process");
}

/// Skips the test unless there are two GPUs, or several processes.
inline void require_ranks() {
  require_gpu();
  if (process_ranks().alone() && c10::cuda::device_count() < 2)
    SKIP("one CUDA device, one process");
}

/// Divided among these GPUs, or by the processes.
inline DividedModel divided_model(const std::filesystem::path& path, at::ScalarType dtype,
                                  const std::vector<at::Device>& devices = kBothGpus) {
  const ProcessGroup& group = process_ranks();
  return group.alone() ? DividedModel(path, devices, dtype)
                       : DividedModel(path, group, at::Device(at::kCUDA, 0), dtype);
}

}  // namespace slice::tests
