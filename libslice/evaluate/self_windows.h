#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "libslice/base/progress.h"

namespace slice {

class Model;

/// Windows of text that a model writes itself, to calibrate on where there is no other text, or
/// beside one: sampled at temperature 1 from a beginning token on, past the ends of texts, some
/// more than asked for; the ones that the model finds least likely are left out. (LLM-QAT, arXiv
/// 2305.17888, section 2.1)
///
/// @param begin  the id before the first sampled one, the first of every window
/// @param seed   the same windows for the same seed on the CPU; on a GPU as far as sums agree
/// @return       (count, context) int64, CPU, in the order in which they were written
/// @throws ArgumentError  count < 1, context < 2 or more than the model has positions, `begin`
///                        outside the vocabulary
/// @throws NumericError   a NaN in the logits
/// Cost: context steps of decoding for every batch, a forward pass. Memory: keys and values of a
/// batch, 2 GiB on a GPU and 256 MiB elsewhere, at least of one window. On a GPU the weights are
/// laid out anew as by a Generator; in the end each is contiguous again, q, k and v parts of one
/// storage.
at::Tensor self_windows(const Model& model, int64_t count, int64_t context, int64_t begin,
                        uint64_t seed, const OnProgress& on_progress = {});

}  // namespace slice
