#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace slice {
class DecoderImpl;
class KvCache;
struct SamplingOptions;
}  // namespace slice

namespace slice::detail {

/// Decoding of a batch in step, with a KV cache. Two implementations: the captured graph
/// (decode_graph.h) and the modules. Rows that are texts of their own: row_decoding.h.
class Decoding {
 public:
  virtual ~Decoding() = default;
  /// Whether single tokens run as a captured graph.
  virtual bool is_captured() const = 0;

  /// Continues the cache with tokens (B, T) int64 on any device, for which it has room.
  /// @return  logits (B, V) of the tokens that follow, in memory of their own
  /// Throws as DecoderImpl::check_tokens does; nothing is changed then.
  virtual at::Tensor feed(const at::Tensor& tokens) = 0;
  /// Samples a token and feeds it, n times, row b as sample_token samples sequence `sequence` + b
  /// of `seed`.
  /// @param logits  (B, V) of the first one; in the end, and where this throws, those of the token
  ///                that follows what the cache counts
  /// @return        the ids (B, n) int64, on the device
  /// @throws NumericError  a NaN in the logits, by the modules an Inf too; some tokens may have
  ///                       been fed
  virtual at::Tensor continue_inplace(at::Tensor& logits, int64_t n,
                                      const SamplingOptions& sampling, uint64_t seed,
                                      uint64_t sequence) = 0;
};

/// By a captured graph where there is one for the model and its device, else by the modules. The
/// decoder and the cache must outlive it, and the weights must stay what they are.
std::unique_ptr<Decoding> make_decoding(const DecoderImpl& decoder, KvCache& cache);

}  // namespace slice::detail
