#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "libslice/checkpoint/model.h"
#include "libslice/model/config.h"
#include "libslice/model/decoder.h"

namespace slice::tests {

/// Gaussian numbers that depend on the seed alone.
at::Tensor gaussian(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kDouble);
/// Orthonormal columns, (rows, columns) float64.
at::Tensor orthonormal(int64_t rows, int64_t columns, uint64_t seed);

/// A small LLaMA: two layers, grouped queries, a head of its own, no size a multiple of another.
ModelConfig tiny_config();
/// tiny_config and its relatives: tied, biased, wide heads, one key head, one layer, odd hidden
/// size.
std::vector<ModelConfig> tiny_configs();
/// A small model of every other family: Mistral and Qwen2 with windows shorter than the tests'
/// texts, OPT tied, Phi with grouped queries, StableLM whose LayerNorms have biases that their
/// readers lack, OLMo whose LayerNorms have no weights, GPT-NeoX with two norms in a parallel block.
std::vector<ModelConfig> tiny_families();
/// A small model of every family with norms on outputs, whose stream keeps its basis.
std::vector<ModelConfig> tiny_families_with_output_norms();
/// A small model of every family with experts.
std::vector<ModelConfig> tiny_families_with_experts();
/// The sizes in one line, to name a model in a failure.
std::string describe(const ModelConfig& config);

/// A decoder with random weights, scaled so that every sublayer changes the stream as much as the
/// embedding does.
std::shared_ptr<DecoderImpl> random_decoder(const ModelConfig& config, uint64_t seed,
                                            at::ScalarType dtype = at::kDouble);
/// The same as a model without a tokenizer; the same seed gives the same weights.
Model random_model(const ModelConfig& config, uint64_t seed = 1,
                   at::ScalarType dtype = at::kDouble);
/// A dense model of which every stream lives in the same `rank` dimensions, so that slicing to them
/// loses nothing.
Model low_rank_model(const ModelConfig& config, int64_t rank, uint64_t seed = 1);

/// Random ids (N, T) int64 below the vocabulary size.
at::Tensor random_tokens(const ModelConfig& config, int64_t N, int64_t T, uint64_t seed = 1);

}  // namespace slice::tests
