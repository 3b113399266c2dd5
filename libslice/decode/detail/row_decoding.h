#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace slice {
class DecoderImpl;
class KvCache;
struct GenerateOptions;
struct UserDecoder;
}  // namespace slice

namespace slice::detail {

/// A text of its own that continues in a row of the cache.
struct DecodingRow {
  int64_t row;
  int64_t position;  ///< of its next token
  int64_t room;      ///< tokens that may follow, at least as many as are asked for
};

/// The next tokens of a row's prompt, at least one. Those before them were fed, or their keys and
/// values copied.
struct PromptPiece {
  int64_t row;
  int64_t position;  ///< of the first
  std::span<const int64_t> tokens;
};

/// Sees logits (t, V), t ≥ 1, of the tokens that follow t tokens of a prompt.
using SeeLogits = std::function<void(const at::Tensor& logits)>;

/// Decoding of rows that are texts of their own, each at a length of its own. Implementations: the
/// captured graph (decode_graph.h) and modules, libslice's with a KV cache and a user's without.
class RowDecoding {
 public:
  virtual ~RowDecoding() = default;
  /// Tokens that a text may have, prompt included.
  virtual int64_t positions() const = 0;
  /// Starts a text in a row, in place of the one before, whose prompt is fed later.
  /// @throws ArgumentError  an id of the prompt is outside the vocabulary; no text was started then
  virtual void enter(int64_t row, const std::vector<int64_t>& prompt,
                     const GenerateOptions& options) = 0;
  /// Feeds the next piece of a row's prompt. Steps of other rows may run between two pieces.
  /// @param position  of its first token; those before it were fed, or their keys and values copied
  /// @param tokens    at least one
  /// @param see       unless empty: sees the logits after all of them, in order
  virtual void feed_row(int64_t row, int64_t position, std::span<const int64_t> tokens,
                        const SeeLogits& see) = 0;
  /// Feeds pieces of different rows. Where a pass takes several, a row's last bits may depend on
  /// the others. After an error they may be fed again.
  virtual void feed_rows(const std::vector<PromptPiece>& pieces) {
    for (const PromptPiece& piece : pieces) feed_row(piece.row, piece.position, piece.tokens, {});
  }
  /// In place of feeding: keys and values of a whole prompt of `length` tokens were copied, after
  /// which logits (V) follow.
  virtual void take_prompt(int64_t row, int64_t length, const at::Tensor& logits) = 0;
  /// Logits (V) of the next token of a row with a whole prompt, in the memory that it is sampled
  /// from.
  virtual at::Tensor logits(int64_t row) = 0;
  /// Samples and feeds n tokens of each row, all of them with whole prompts, in ascending order.
  /// @param waiting  rows with a piece of their prompts, of which nothing is changed
  /// @return  the ids of each; −1 where its logits hold a NaN, by the modules an Inf too. The
  ///          modules give fewer where a text ends, and where an error came after the first id of
  ///          the call: what was not fed comes again. An exception means that there is no id.
  virtual std::vector<std::vector<int64_t>> continue_rows(const std::vector<DecodingRow>& rows,
                                                          const std::vector<DecodingRow>& waiting,
                                                          int64_t n) = 0;
};

/// Tokens whose logits are shown at one time, at most: they bound what log-probabilities take.
inline constexpr int64_t kSeenTokens = 64;

/// Shows the logits of the tokens that follow those of a stream (T, k), kSeenTokens at a time.
void see_logits(const DecoderImpl& decoder, const at::Tensor& stream, const SeeLogits& see);

/// By a captured graph where there is one for the model and its device, else by the modules. The
/// decoder and the cache must outlive it, and the weights must stay what they are.
std::unique_ptr<RowDecoding> make_row_decoding(const DecoderImpl& decoder, KvCache& cache);

/// By a user's modules, which run a whole text for every token of it.
/// @param decoder  must outlive this
std::unique_ptr<RowDecoding> make_row_decoding(const UserDecoder& decoder);

}  // namespace slice::detail
