#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "benchmarks/placement.h"
#include "libslice/checkpoint/checkpoint.h"
#include "libslice/checkpoint/model.h"
#include "libslice/model/config.h"

// Whole models of published shapes, for benchmarks that need no trained weights.

namespace slice::bench {

/// Published sizes of a name in docs/results: llama2-7b, opt-66b, phi-2, …
/// @throws std::runtime_error  no such shape.
ModelConfig published_config(const std::string& name);

/// What slicing makes of a dense configuration. dense: nothing; slice25-none, slice20-dense,
/// slice30-diagonal, slice25-lowrank64, …: so many hundredths less of D at every site (steps of 8),
/// with shortcuts of this form; stock25: a dense model
/// whose layers have 3/4 of the weights, from 7/8 of D and fewer FFN channels (steps of 64);
/// equal25: the same from fewer FFN channels alone (steps of 32); uneven25: those channels, from
/// half as many in the first layer to one and a half times as many in the last.
/// @throws std::runtime_error  no such form.
ModelConfig config_of_form(const ModelConfig& dense, const std::string& form);

/// Random weights that keep the stream near unit size, so that nothing overflows; float16. The same
/// names and shapes give the same numbers on devices of one kind.
Model random_model(const ModelConfig& config, at::Device device);
/// One of these weights: of a name and a shape, made on the device.
at::Tensor random_weight(const std::string& name, at::IntArrayRef shape, at::Device device);
/// The same weights as a checkpoint that is on no disk: a tensor is made when it is read.
std::unique_ptr<Checkpoint> random_checkpoint(const ModelConfig& config, at::Device device);

/// Bytes of a model's pieces at two bytes a weight, from its sizes alone, each layer with the keys
/// and values of `tokens` positions in all.
PlacedBytes placed_bytes(const ModelConfig& config, int64_t tokens);

/// What a card of so many bytes has left for weights and cache: without the CUDA context and its
/// libraries, the matrix that decoding lays a sublayer's readers out in (detail/decode_weights.h),
/// and what a step of `batch` sequences works in.
int64_t card_room(const ModelConfig& config, int64_t card_bytes, int64_t batch);

}  // namespace slice::bench
