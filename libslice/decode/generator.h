#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "libslice/decode/sampling.h"

namespace slice {

class DividedModel;
class Model;
class KvCache;
struct ModelConfig;
namespace detail {
class Decoding;
class DividedDevices;
class LastStream;
}  // namespace detail

/// Whether a GPU decodes models of this configuration by a captured graph (in float16, bfloat16 and
/// float32); others by LibTorch's modules, which is slower.
bool decodes_captured(const ModelConfig& config);

/// Decoding with a KV cache: a prompt once, then a token at a time. One batch, all of one length.
///
/// On a GPU a single token a sequence is one captured graph, and several go through cuBLAS and a
/// few kernels, a bounded number at a time (where decodes_captured says so). For it the model's weights are laid out anew, in place, the first time:
/// the model keeps its function, and must not be rewritten while a generator runs it, nor run
/// elsewhere during that first time. Members are to be called by one thread at a time.
class Generator {
 public:
  /// @param capacity  positions in all, prompt included
  /// @throws ArgumentError  capacity or batch < 1
  Generator(const Model& model, int64_t capacity, int64_t batch = 1);
  /// The same over several GPUs; what it returns is on the first one. An error of one GPU ends what
  /// the others do, and the generator is where it was before.
  Generator(const DividedModel& model, int64_t capacity, int64_t batch = 1);
  ~Generator();
  Generator(Generator&&) noexcept;

  /// Continues with tokens (B, T) int64. @return  logits (B, V) of the token that follows.
  /// @throws ShapeError     not (B, T) of the constructor's batch, T ≥ 1
  /// @throws ArgumentError  the capacity is exceeded, or an id is outside the vocabulary; nothing
  ///                        was fed then
  at::Tensor feed(const at::Tensor& tokens);
  /// Feeds the most likely token n times, ties the lowest id. On a GPU the chain stays there; the
  /// host waits once, at the end.
  /// @return  the tokens fed, (B, n) int64, on the model's device
  /// @throws ArgumentError  the capacity or a learned position table is exceeded, or nothing was
  ///                        fed since the beginning or the last truncate
  /// @throws NumericError   a NaN in the logits, on the CPU an Inf too; the generator is truncated
  ///                        to where it was
  at::Tensor continue_greedy(int64_t n) { return continue_sampled(n, {}, 0); }
  /// The same with tokens sampled as sample_token samples them, those of text b of the batch as
  /// sequence `sequence` + b of `seed`; at temperature 0 continue_greedy.
  /// Throws as continue_greedy and check_sampling do.
  at::Tensor continue_sampled(int64_t n, const SamplingOptions& sampling, uint64_t seed,
                              uint64_t sequence = 0);
  /// Logits (B, V) of the token that follows what was fed; undefined before the first feed.
  const at::Tensor& logits() const { return logits_; }
  /// Whether single tokens run as a captured graph.
  bool runs_captured();
  /// Positions fed so far.
  int64_t length() const;
  /// Forgets everything after `length` positions.
  void truncate(int64_t length);

 private:
  detail::Decoding& decoding();
  void check_room(int64_t T) const;

  std::shared_ptr<const Model> model_;
  std::shared_ptr<detail::DividedDevices> parts_;  // where the model is divided
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<detail::Decoding> decoding_;  // of the cache; made when first needed
  at::Tensor logits_;
  std::unique_ptr<detail::LastStream> stream_;  // last: it goes first
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling = {};
  uint64_t seed = 0;
  std::vector<int64_t> stop_tokens = {};  ///< ends the text and is not part of it
  uint64_t sequence = 0;                  ///< number of the text among those of one seed
};

/// Continues a prompt. With learned positions the text ends at the last of them
/// (ModelConfig::positions counts prompt and new ids), however many tokens were asked for; after a
/// prompt that takes all of them it is empty.
/// @param on_token  called with every new id; returning false ends the text
/// @return  the new ids    @throws ArgumentError  an empty prompt, or one with more tokens than
/// positions; max_tokens < 0, an id outside the vocabulary, bad sampling options
std::vector<int64_t> generate(const Model& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options = {},
                              const std::function<bool(int64_t)>& on_token = {});
std::vector<int64_t> generate(const DividedModel& model, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options = {},
                              const std::function<bool(int64_t)>& on_token = {});

}  // namespace slice
