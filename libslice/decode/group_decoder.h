#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/device/process_group.h"
#include "libslice/model/adapter.h"

namespace slice {

class Checkpoint;
class DecoderImpl;
class KvCache;
struct GenerateOptions;
struct ModelConfig;

struct GroupDecoderOptions {
  at::Device device = at::kCPU;
  /// What the weights are held and computed in: float32 on the CPU when absent, on a GPU the stored
  /// dtype, float16 of a quantised file.
  std::optional<at::ScalarType> dtype = std::nullopt;
  int64_t capacity = 2048;  ///< positions in all, prompt included
  int64_t batch = 1;
};

/// What a model says of ids that follow others.
struct TokenScores {
  at::Tensor log_likelihoods;  ///< (n) float64 on the CPU: log p(id | all before it), nats
  at::Tensor greedy;           ///< (n) bool on the CPU: whether it is the most likely one
};

/// Decoding by several processes, each of which holds a part of the model: a run of its layers
/// (Pipeline) or a share of every layer (TensorParallel). All ranks call the same members with the
/// same tokens, and all get the same logits, bit for bit.
class GroupDecoder {
 public:
  virtual ~GroupDecoder();

  /// Continues with tokens (B, T) int64. @return  logits (B, V) of the token that follows, on this
  /// rank's device. Throws as Generator::feed does. @throws Error  lost contact with another rank
  at::Tensor feed(const at::Tensor& tokens);
  /// Feeds the most likely token n times, ties the lowest id. @return  the tokens fed, (B, n) int64
  /// @throws ArgumentError  nothing was fed yet, n < 0, or the capacity is exceeded
  /// @throws NumericError  a NaN or Inf in the logits   @throws Error  lost contact with another rank
  at::Tensor continue_greedy(int64_t n);
  /// Scores ids of a text by itself, whatever was fed: `targets` (n) int64, those that follow the
  /// positions of `tokens` (T) int64 from `first` on. Log-likelihoods in float32 at least.
  /// @throws ArgumentError  an id outside the vocabulary   @throws Error  lost contact with another rank
  /// Memory: the stream of T positions and 256 positions' logits.
  TokenScores score(const at::Tensor& tokens, int64_t first, const at::Tensor& targets);
  /// Positions fed so far, and those that there is room for.
  int64_t length() const;
  int64_t capacity() const;
  /// Parameters that this rank holds of the model.
  int64_t parameters() const;
  /// The whole model's sizes.
  const ModelConfig& config() const;
  /// Where this rank computes, and in what.
  at::Device device() const { return held_.device(); }
  at::ScalarType dtype() const { return held_.dtype().toScalarType(); }

 protected:
  /// @throws FormatError  a tensor is missing, unused or misshapen   @throws DeviceError
  GroupDecoder(const Checkpoint& checkpoint, const ProcessGroup& group,
               const GroupDecoderOptions& options);
  GroupDecoder(GroupDecoder&&) noexcept;

  /// Makes this rank's part, a model of these sizes, and its cache. `weight` reads the value of a
  /// parameter of the part; one for which it gives nothing gets no memory.
  void take(const Checkpoint& checkpoint, const ModelConfig& part,
            const GroupDecoderOptions& options,
            const std::function<at::Tensor(const std::string& parameter)>& weight);
  /// A tensor of the checkpoint in the dtype that weights are held in, on the CPU.
  /// @throws NumericError  a value that is not finite there (named)
  at::Tensor read(const Checkpoint& checkpoint, const std::string& name) const;
  /// The stream (B, T, k_0) of embedded tokens that continue a cache: scaled, and with the rows of
  /// learned positions.
  at::Tensor stream_of(at::Tensor words, const KvCache* cache) const;

  std::shared_ptr<const DecoderImpl> whole_;  // the model, without memory
  ProcessGroup group_;
  at::TensorOptions held_;
  std::shared_ptr<DecoderImpl> decoder_;  // this rank's part
  ModelAdapter parts_;                    // of it
  std::unique_ptr<KvCache> cache_;

 private:
  /// tokens (B, T), checked, that continue a cache where there is one → the stream (B, T, k) after
  /// this rank's last sublayer
  virtual at::Tensor stream(const at::Tensor& tokens, KvCache* cache) const = 0;
  /// Rows of such a stream, (n, k) → logits (n, V) on every rank
  virtual at::Tensor head(const at::Tensor& stream) const = 0;
  void check_room(int64_t T) const;
  void advance(const at::Tensor& tokens);

  at::Tensor logits_;
};

/// Continues a prompt with a decoder of batch 1 to which nothing was fed, as generate does with a
/// model; no further than its capacity. All ranks get the same ids.
/// @param on_token  as there; must return the same on all ranks
/// @throws ArgumentError, NumericError  as there   @throws Error  lost contact with another rank
std::vector<int64_t> generate(GroupDecoder& decoder, const std::vector<int64_t>& prompt,
                              const GenerateOptions& options,
                              const std::function<bool(int64_t)>& on_token = {});

}  // namespace slice
