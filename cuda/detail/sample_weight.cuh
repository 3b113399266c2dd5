#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/sample_token.h"

// sample_token: the whole numbers that logits become, and random ones;
// libslice/decode/detail/sample.cpp has the same for the CPU.

namespace slice::kernels::detail {

constexpr int kFractionBits = 18;                // of q
constexpr unsigned kEnd = 38u << kFractionBits;  // a token from here on weighs nothing
constexpr int kBucketBits = 12;                  // of q, in a bucket
constexpr unsigned kInBucket = 1u << kBucketBits;
static_assert(kEnd >> kBucketBits <= kInBucket);  // one table serves buckets and what is in one

/// q of a logit: how far it lies below the largest, at most kEnd.
__device__ __forceinline__ unsigned sample_distance(float largest, float logit, float steps) {
  const float below = logit == largest ? 0.0f : __fsub_rn(largest, logit);  // ∞ − ∞ is none
  return __float2uint_rn(fminf(__fmul_rn(below, steps), static_cast<float>(kEnd)));
}

/// 2³⁸ · 2^(−q / 2¹⁸): a polynomial for 2^(−z) in 31 bits, z in [0, 1) in 32.
__device__ __forceinline__ uint64_t sample_weight(unsigned q) {
  if (q >= kEnd) return 0;
  const unsigned z = q << (32 - kFractionBits);
  unsigned sum = 19743547u - __umulhi(z, 2017913u);
  sum = 118729929u - __umulhi(z, sum);
  sum = 515776678u - __umulhi(z, sum);
  sum = 1488514208u - __umulhi(z, sum);
  sum = 0x80000000u - __umulhi(z, sum);
  return (static_cast<uint64_t>(sum) << 7) >> (q >> kFractionBits);
}

/// Words 0 and 1 of Philox4x32-10.
__device__ __forceinline__ uint64_t sample_bits(const TokenSampling& sampling, uint64_t position) {
  unsigned x0 = static_cast<unsigned>(position), x1 = static_cast<unsigned>(position >> 32);
  unsigned x2 = static_cast<unsigned>(sampling.sequence);
  unsigned x3 = static_cast<unsigned>(sampling.sequence >> 32);
  unsigned key0 = static_cast<unsigned>(sampling.seed),
           key1 = static_cast<unsigned>(sampling.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xd2511f53u, x0), low0 = 0xd2511f53u * x0;
    const unsigned high1 = __umulhi(0xcd9e8d57u, x2), low1 = 0xcd9e8d57u * x2;
    x0 = high1 ^ x1 ^ key0;
    x1 = low1;
    x2 = high0 ^ x3 ^ key1;
    x3 = low0;
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return static_cast<uint64_t>(x1) << 32 | x0;
}

}  // namespace slice::kernels::detail
