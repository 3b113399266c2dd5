#pragma once

#include <cstdint>

namespace slice {

struct ModelConfig;

/// Device memory that CUDA takes for itself: its context, its modules, cuBLAS.
inline constexpr int64_t kCudaContextBytes = int64_t{700} << 20;

/// Bytes of keys and values of `context` tokens of `batch` sequences.
/// @param element_bytes  of one of them
int64_t cache_bytes(const ModelConfig& config, int64_t element_bytes, int64_t context,
                    int64_t batch);

/// Bytes of the widest activations of a piece of a prompt.
/// @param weight_bytes  of an element    @param tokens  of the piece
/// @param context       tokens of the prompt
int64_t piece_bytes(const ModelConfig& config, int64_t weight_bytes, int64_t tokens,
                    int64_t context);

/// Bytes of a device that running a model takes: weights, keys and values of `context` tokens of
/// `batch` sequences, the widest activations of one prefill, logits, and kCudaContextBytes.
/// Measured against: docs/results/fit.csv.
///
/// @param weight_bytes  of an element
int64_t inference_bytes(const ModelConfig& config, int64_t weight_bytes, int64_t context,
                        int64_t batch);

}  // namespace slice
