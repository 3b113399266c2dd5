#pragma once

#include <cstdint>

// Blocks of a cluster, which read each other's shared memory, compute capability 9.0: PTX ISA,
// "barrier.cluster", "mapa".

namespace slice::kernels::detail {

/// Waits for all threads of all blocks of the cluster, whose writes are visible then.
__device__ __forceinline__ void cluster_barrier() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;\n" ::
          : "memory");
}

/// Floats at a place of this block's shared memory, as the block `rank` of the cluster has them.
__device__ __forceinline__ float load_of_block(uint32_t shared, int rank) {
  float value;
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %1, %2;\n"
      "ld.shared::cluster.f32 %0, [there];\n"
      "}\n"
      : "=f"(value)
      : "r"(shared), "r"(rank)
      : "memory");
  return value;
}
__device__ __forceinline__ float4 load_4_of_block(uint32_t shared, int rank) {
  float4 value;
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %4, %5;\n"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n"
      "}\n"
      : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
      : "r"(shared), "r"(rank)
      : "memory");
  return value;
}

}  // namespace slice::kernels::detail
