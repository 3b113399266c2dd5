#pragma once

#include <ATen/core/Tensor.h>
#include <torch/nn/module.h>

#include <map>
#include <string>
#include <vector>

#include "libslice/model/config.h"

// Slow oracles in float64, written to be obviously right and without a line of the library's
// algebra. Row vectors; a linear weight W is (out, in).

namespace slice::tests {

/// Root-mean-square norm, row by row:  y = x / sqrt(Σ x² / D + eps).   (…, k) any floating dtype →
/// float64
at::Tensor rms_norm_reference(const at::Tensor& x, int64_t D, double eps);

/// Rotary embedding by complex multiplication:  (u_i + i v_i) · exp(i · position · theta^(−2i/d)).
/// @param x  (B, T, h, d), position of x[:, t] is first + t     @return  the same shape, float64
at::Tensor rotary_reference(const at::Tensor& x, int64_t first, double theta);

/// Causal attention of one window as a triple loop over heads, queries and keys.
/// @param q  (T, h, d)   @param k, v  (T, kv, d); query head i reads key head i / (h / kv) @return
/// (T, h·d)
at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// Weights of a dense LLaMA by Hugging Face name, float64 copies.
using Weights = std::map<std::string, at::Tensor>;
Weights weights_of(const torch::nn::Module& module);

/// The stream before the next sublayer, of one window: site 2·layer is attention's, 2·layer +
/// 1 the MLP's.
/// @param x  (T, D)   @return  x + writer(hidden(norm(x))), (T, D)
at::Tensor sublayer_reference(const ModelConfig& config, const Weights& weights, int64_t site,
                              const at::Tensor& x);

/// Logits (T, V) of one window of ids (T), of a dense model with the projectors PPᵀ of a slicing
/// put before every sublayer and the final norm: what slicing means before any weight is
/// touched.
/// @param projectors  (D, D) a site, 2·L + 1 of them; none for the dense model itself
at::Tensor logits_reference(const ModelConfig& config, const Weights& weights,
                            const at::Tensor& ids, const std::vector<at::Tensor>& projectors = {});

/// SliceGPT by the book, with errors that propagate: at each site the covariance of the stream of
/// the network that is projected at all sites before it, its leading eigenvectors, its projector.
struct BookSlicing {
  std::vector<at::Tensor> projectors;  ///< (D, D) a site
  std::vector<double> kept_variance;
  double smallest_gap =
      1;  ///< least (λ_k−1 − λ_k) / λ_0 of all sliced sites: how well a projector is defined
};
BookSlicing slice_by_the_book(const ModelConfig& config, const Weights& weights,
                              const at::Tensor& tokens, const std::vector<int64_t>& sizes);

}  // namespace slice::tests
