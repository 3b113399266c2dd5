#pragma once

#include <cstddef>
#include <cstdint>

namespace slice::detail {

/// The K formats of ggml: blocks of 256 values with one or two float16 scales, in parts of 16 or 32
/// with small integer scales of their own. Every product of scale and quant is exact in float32,
/// except Q6_K's, which is rounded once.
inline constexpr int64_t kSuperBlock = 256;

void dequantise_q2_k(const std::byte* from, float* to, int64_t blocks);  ///<  84 bytes a block
void dequantise_q3_k(const std::byte* from, float* to, int64_t blocks);  ///< 110
void dequantise_q4_k(const std::byte* from, float* to, int64_t blocks);  ///< 144
void dequantise_q5_k(const std::byte* from, float* to, int64_t blocks);  ///< 176
void dequantise_q6_k(const std::byte* from, float* to, int64_t blocks);  ///< 210

}  // namespace slice::detail
