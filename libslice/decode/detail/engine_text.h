#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "libslice/decode/batch.h"
#include "libslice/decode/request.h"
#include "libslice/text/incremental_decoder.h"
#include "libslice/text/stop_strings.h"

namespace slice::detail {

class RequestState;

/// A request of which some text runs or is to run. The engine's thread alone sees it.
struct ActiveRequest {
  std::shared_ptr<RequestState> state;
  GenerateOptions options;  ///< of text 0, with the tokenizer's end tokens
  Usage usage = {};
  int64_t left = 0;  ///< texts that have not ended
  bool has_token = false;
  Finish worst = Finish::kNone;  ///< of those that ended, in the order of Finish
};

/// One text of a request that has a slot of a batch: what is done to its logits, and what its
/// tokens are as pieces.
class EngineText {
 public:
  /// @param tokenizer  must outlive this; nullptr: pieces without text
  EngineText(std::shared_ptr<ActiveRequest> request, int64_t index, const Tokenizer* tokenizer);

  /// Whether it looks at its prompt's logits.
  bool sees_prompt() const;
  /// Logits (t, V) after the next t tokens of its prompt.
  void see_prompt(const at::Tensor& logits);
  /// What they were, as a piece; nothing where nobody asked.
  std::optional<TextPiece> prompt_piece();

  /// Whether it sees its logits before each token.
  bool sees_logits() const;
  /// Logits (V) of the next token, changed in place. Throws what the constraint throws.
  void see_logits(at::Tensor logits);
  /// What a step gave it: counts usage.
  TextPiece take(const BatchOutput& output);
  /// The end of its text where it is.
  TextPiece ended(Finish finish, const std::string& error = {});

  const std::shared_ptr<ActiveRequest>& request() const { return request_; }
  int64_t index() const { return index_; }

  int64_t batch_id = -1;     ///< in the batch, once it has a slot
  bool has_prompt = false;   ///< in the batch
  bool ended_there = false;  ///< the batch has no slot of it any more
  bool gone = false;         ///< its last piece was handed over

 private:
  const Request& wanted() const;
  TextPiece piece() const;
  void push(int64_t id, TextPiece& piece);
  void add_logprobs(int64_t id, TextPiece& piece);
  void finish(Finish finish, TextPiece& piece);

  std::shared_ptr<ActiveRequest> request_;
  int64_t index_;
  std::optional<IncrementalDecoder> decoder_;
  StopStrings stop_;
  std::optional<TokenCounts> counts_;  // where there are penalties
  std::vector<int64_t> written_;
  at::Tensor logprobs_;  // (1, V) of the next token
  std::vector<TokenLogprobs> prompt_logprobs_;
};

}  // namespace slice::detail
