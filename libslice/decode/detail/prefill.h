#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace slice {
class KvCache;
}

namespace slice::detail {

struct DecodeModel;

/// Tokens that go through the layers at one time, at most: they bound what a prefill works in,
/// about (3·F + 7·D) elements a token, and fill the multiprocessors several times over.
inline constexpr int64_t kPrefillTokens = 8192;

/// What LibTorch's flash attention wants a head's size to be a multiple of.
inline constexpr int64_t kFlashAlignment = 8;

/// A prompt, or the next piece of one, through a model on a CUDA device. Products are cuBLAS's, a
/// residual added in them; LibTorch's fused attention; a kernel each for norm, rotary positions
/// with the cache's new rows, and a gated activation. Writes the cache's memory; counting positions
/// stays with the caller, who has seen to it that there is room.
///
/// @param tokens        (B, T) int64, any device, the first at `position`; checked by the caller
/// @param chunk_tokens  tokens at one time: whole sequences, pieces of one that is longer
/// @param see           unless empty: sees the streams after the last sublayer, (n, T', k) of n
///                      sequences, a chunk at a time
/// @return              logits (B, V) of the tokens that follow
at::Tensor prefill(const DecodeModel& model, const KvCache& cache, const at::Tensor& tokens,
                   int64_t position, int64_t chunk_tokens = kPrefillTokens,
                   const std::function<void(const at::Tensor& stream)>& see = {});

}  // namespace slice::detail
