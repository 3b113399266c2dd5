#pragma once

#include <cuda_runtime_api.h>

#include <atomic>

namespace slice::kernels::detail {

/// The compute capability that has bulk copies and products of warpgroups, where kernels with them
/// were compiled (for 9.0a): its major number, else that of no device.
#ifdef SLICE_HOPPER
inline constexpr int kHopperMajor = 9;
#else
inline constexpr int kHopperMajor = -1;
#endif

/// What a launch needs to know of the current device.
struct Capability {
  int major = 0;  ///< of the compute capability
  int multiprocessors = 0;
  int shared_bytes = 0;  ///< that a block may have
};

/// Where not 0, launches take it for the device's own: a test on a newer device runs what an older
/// one would.
struct PretendedCapability {
  std::atomic<int> major = 0, shared_bytes = 0;
};
inline PretendedCapability pretended_capability;

inline cudaError_t current_capability(Capability& capability) {
  int id = 0;
  cudaError_t status = cudaGetDevice(&id);
  const auto read = [&](int& value, cudaDeviceAttr attribute, int pretended) {
    if (status == cudaSuccess) status = cudaDeviceGetAttribute(&value, attribute, id);
    if (pretended != 0) value = pretended;
  };
  read(capability.major, cudaDevAttrComputeCapabilityMajor, pretended_capability.major);
  read(capability.multiprocessors, cudaDevAttrMultiProcessorCount, 0);
  read(capability.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin,
       pretended_capability.shared_bytes);
  return status;
}

/// Whether kernels on the current device may start before the previous one has ended.
inline bool can_start_early() {
  Capability capability;
  return current_capability(capability) == cudaSuccess && capability.major >= 9;
}

}  // namespace slice::kernels::detail
