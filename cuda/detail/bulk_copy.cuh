#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda/detail/mma.cuh"

// Bulk copies to shared memory and the barriers that count their bytes, compute capability 9.0:
// PTX ISA, "mbarrier", "cp.async.bulk".

namespace slice::kernels::detail {

__device__ __forceinline__ void barrier_init(uint64_t* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}

/// Makes barriers visible to copies. Called by the thread that initialised them.
__device__ __forceinline__ void barriers_are_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}

/// Arrives, and lets the phase end only after `bytes` more have been copied.
__device__ __forceinline__ void barrier_expect(uint64_t* barrier, unsigned bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}

/// Waits for the end of the phase of this parity.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, unsigned parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra.uni over;\n"
      "bra.uni again;\n"
      "over:\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

/// What a copy leaves in the L2: weights are read once a step, signals by every block.
enum class Keep : uint64_t { kShort = 0x12F0000000000000, kLong = 0x14F0000000000000 };

/// Copies a box of a matrix, columns from `column` and rows from `row` on, zeros where it ends.
__device__ __forceinline__ void copy_box(uint32_t shared, const CUtensorMap* map, int column,
                                         int row, uint64_t* barrier, Keep keep) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(shared),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(shared_address(barrier)), "r"(column), "r"(row),
      "l"(static_cast<uint64_t>(keep))
      : "memory");
}

/// Asks the L2 for neighbouring bytes, a multiple of 16 from a multiple of 16 on.
__device__ __forceinline__ void prefetch_bytes(const void* source, unsigned bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(source)),
               "r"(bytes)
               : "memory");
}

/// Copies neighbouring bytes, a multiple of 16 from a multiple of 16 on.
__device__ __forceinline__ void copy_bytes(uint32_t shared, const void* source, unsigned bytes,
                                           uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

/// The same for bytes that are read once: the L2 keeps others before them.
__device__ __forceinline__ void copy_once(uint32_t shared, const void* source, unsigned bytes,
                                          uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], "
      "%2, [%3], %4;" ::"r"(shared),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(shared_address(barrier)),
      "l"(static_cast<uint64_t>(Keep::kShort))
      : "memory");
}

}  // namespace slice::kernels::detail
