#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace slice {
class DecoderImpl;
class KvCache;
struct GenerateOptions;
struct SamplingOptions;
}  // namespace slice

namespace slice::detail {

/// A text of its own that continues in a row of the cache.
struct DecodingRow {
  int64_t row;
  int64_t position;  ///< of its next token
  int64_t room;      ///< tokens it may still have, at least as many as are asked for
};

/// Decoding with a KV cache, either of a batch in step (feed, continue_inplace) or of rows that are
/// texts of their own (enter, continue_rows). Two implementations: the captured graph
/// (decode_graph.h) and the modules.
class Decoding {
 public:
  virtual ~Decoding() = default;
  /// Whether single tokens run as a captured graph.
  virtual bool is_captured() const = 0;

  /// Continues the cache with tokens (B, T) int64 on any device, for which it has room.
  /// @return  logits (B, V) of the tokens that follow, in memory of their own
  /// Throws as DecoderImpl::check_tokens does; nothing is changed then.
  virtual at::Tensor feed(const at::Tensor& tokens) = 0;
  /// Samples a token and feeds it, n times, row b as sample_token samples sequence b of `seed`.
  /// @param logits  (B, V) of the first one; in the end, and where this throws, those of the token
  ///                that follows what the cache counts
  /// @return        the ids (B, n) int64, on the device
  /// @throws NumericError  a NaN in the logits, by the modules an Inf too; some tokens may have
  ///                       been fed
  virtual at::Tensor continue_inplace(at::Tensor& logits, int64_t n,
                                      const SamplingOptions& sampling, uint64_t seed) = 0;

  /// Starts a text in a row and runs its prompt there; it is sampled as sequence 0 of its seed.
  /// Throws as DecoderImpl::check_tokens does; no text was started then.
  virtual void enter(int64_t row, const std::vector<int64_t>& prompt,
                     const GenerateOptions& options) = 0;
  /// Logits (V) of the next token of a row that was entered, in the memory that it is sampled from.
  virtual at::Tensor logits(int64_t row) = 0;
  /// Samples and feeds n tokens of each row, all of them entered, in ascending order.
  /// @return  the ids of each; −1 where its logits hold a NaN, by the modules an Inf too. The
  ///          modules give fewer where a text ends, and where an error came after the first id of
  ///          the call: what was not fed comes again. An exception means that there is no id.
  virtual std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                          int64_t n) = 0;
};

/// By a captured graph where there is one for the model and its device, else by the modules. The
/// decoder and the cache must outlive it, and the weights must stay what they are.
std::unique_ptr<Decoding> make_decoding(const DecoderImpl& decoder, KvCache& cache);

}  // namespace slice::detail
