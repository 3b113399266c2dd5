#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

// Products of a warpgroup (four neighbouring warps), compute capability 9.0a: PTX ISA,
// "Asynchronous warpgroup level matrix instructions".

namespace slice::kernels::detail {

/// Rows of 64 columns of 16 bits each, which lie as a copy with a swizzle of 128 bytes leaves them:
/// piece c of row r, 16 bytes, is at 128 r + 16 (c ^ r % 8). Starts at a multiple of 1024.
__device__ __forceinline__ uint64_t swizzled_rows(uint32_t shared) {
  constexpr uint64_t kEightRows = uint64_t{1024 >> 4} << 32, kSwizzle128 = uint64_t{1} << 62;
  return (shared >> 4 & 0x3FFF) | uint64_t{1} << 16 | kEightRows | kSwizzle128;
}

/// The same from 16 columns further on.
__device__ __forceinline__ uint64_t next_columns(uint64_t rows) { return rows + (32 >> 4); }

__device__ __forceinline__ void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
}

/// Waits until at most `kPending` of the newest groups are under way.
template <int kPending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}

/// Lets what threads wrote to shared memory be read by products and copies.
__device__ __forceinline__ void writes_are_for_products() {
  asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory");
}

// d (64, n) += a (64, 16) · b (n, 16)ᵀ, float32 sums. Of d, lane 4g + t of warp w has rows
// 16 w + g (d[4 j], d[4 j + 1]) and 16 w + g + 8 (d[4 j + 2], d[4 j + 3]), columns 8 j + 2 t and
// 8 j + 2 t + 1.
#define SLICE_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SLICE_D16(i) SLICE_D4(i), SLICE_D4(i + 4), SLICE_D4(i + 8), SLICE_D4(i + 12)
#define SLICE_PRODUCT(n, type, list, a_b, ...)                                           \
  asm volatile(                                                                          \
      "{\n.reg .pred add;\nsetp.eq.u32 add, 0, 0;\n"                                     \
      "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" list "}, " a_b \
      ", add, 1, 1, 0, 0;\n}\n"                                                          \
      : __VA_ARGS__                                                                      \
      : "l"(a), "l"(b))
#define SLICE_LIST8 "%0, %1, %2, %3"
#define SLICE_LIST16 "%0, %1, %2, %3, %4, %5, %6, %7"
#define SLICE_LIST32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"

template <typename T>
struct WarpgroupProduct;

#define SLICE_PRODUCTS(type, name)                                                       \
  template <>                                                                            \
  struct WarpgroupProduct<type> {                                                        \
    static __device__ __forceinline__ void add(float (&d)[4], uint64_t a, uint64_t b) {  \
      SLICE_PRODUCT("8", name, SLICE_LIST8, "%4, %5", SLICE_D4(0));                      \
    }                                                                                    \
    static __device__ __forceinline__ void add(float (&d)[8], uint64_t a, uint64_t b) {  \
      SLICE_PRODUCT("16", name, SLICE_LIST16, "%8, %9", SLICE_D4(0), SLICE_D4(4));       \
    }                                                                                    \
    static __device__ __forceinline__ void add(float (&d)[16], uint64_t a, uint64_t b) { \
      SLICE_PRODUCT("32", name, SLICE_LIST32, "%16, %17", SLICE_D16(0));                 \
    }                                                                                    \
  }

SLICE_PRODUCTS(__half, "f16");
SLICE_PRODUCTS(__nv_bfloat16, "bf16");

#undef SLICE_PRODUCTS
#undef SLICE_D4
#undef SLICE_D16
#undef SLICE_PRODUCT
#undef SLICE_LIST8
#undef SLICE_LIST16
#undef SLICE_LIST32

}  // namespace slice::kernels::detail
