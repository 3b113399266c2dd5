#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace slice {

/// What is done to the logits l of a text's next token before it is sampled, in this order (vLLM's;
/// a grammar comes between counts and min-p):
///
///   bias        lᵢ ← lᵢ + biasᵢ                                         (OpenAI's logit_bias)
///   repetition  lᵢ ← lᵢ / r where lᵢ > 0, else lᵢ · r, of ids in the prompt or the text
///               (CTRL, arXiv 1909.05858; Transformers' RepetitionPenaltyLogitsProcessor, vLLM)
///   counts      lᵢ ← lᵢ − frequency · cᵢ − presence · [cᵢ > 0], cᵢ: how often the text has id i,
///               the prompt not counted                                   (OpenAI, vLLM)
///   min-p       out where softmax(l / temperature)ᵢ < min_p · the largest of them
///               (arXiv 2407.01082; Transformers' MinPLogitsWarper)
///   top-k       out where lᵢ is below the k-th largest; ties with it stay
///               (Transformers' TopKLogitsWarper)
///
/// The nucleus of SamplingOptions::top_p is taken of what is left, as in vLLM. At temperature 0
/// min-p and top-k change nothing.
struct LogitRules {
  std::map<int64_t, double> bias = {};
  double repetition_penalty = 1;  ///< r
  double presence_penalty = 0;
  double frequency_penalty = 0;
  double min_p = 0;
  int64_t top_k = 0;  ///< 0: all

  bool any() const;
};

/// @param vocabulary  V
/// @throws ArgumentError  an id of the bias outside [0, V); a bias or penalty that is no finite
///                        number; repetition_penalty ≤ 0, min_p outside [0, 1], top_k < 0
void check_rules(const LogitRules& rules, int64_t vocabulary);

/// What a text has of each id, for penalties. Not to be shared between threads.
class TokenCounts {
 public:
  /// @param prompt  ids of the prompt
  explicit TokenCounts(std::span<const int64_t> prompt = {});
  /// One more token of the text.
  void push(int64_t id) { ++counts_[id]; }
  /// How often the text has each id; 0 for those that the prompt alone has. In ascending order.
  const std::map<int64_t, int64_t>& counts() const { return counts_; }

 private:
  std::map<int64_t, int64_t> counts_;
};

/// Applies bias, repetition and counts. On a GPU the host waits for nothing but the copy of the ids
/// that change.
/// @param logits  (V) floating point, any device; changed in place
void penalize_inplace(at::Tensor logits, const LogitRules& rules, const TokenCounts& counts);

/// Applies min-p and top-k: what is out gets lowest_logit. On a GPU the host does not wait.
/// @param logits  (V) floating point, any device; changed in place
void truncate_inplace(at::Tensor logits, const LogitRules& rules, double temperature);

/// Takes all tokens out but some.
/// @param logits   (V) floating point, changed in place
/// @param allowed  (V) bool, any device
void allow_only_inplace(at::Tensor logits, const at::Tensor& allowed);

/// The logit of a token that must not come: the lowest finite number of the type, in float64 that
/// of float32.
double lowest_logit(at::ScalarType type);

}  // namespace slice
