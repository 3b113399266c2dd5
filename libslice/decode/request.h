#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libslice/base/error.h"
#include "libslice/decode/generator.h"
#include "libslice/decode/logit_rules.h"

namespace slice {

/// No model of an engine has this name.
class UnknownModel : public ArgumentError {
 public:
  using ArgumentError::ArgumentError;
};

/// The engine has as many waiting requests as it may. Try again later.
class QueueFull : public Error {
 public:
  using Error::Error;
};

/// The engine takes no requests any more: it was closed, or its device failed for good.
class EngineClosed : public Error {
 public:
  using Error::Error;
};

/// Natural logarithms of probabilities, of the model's own softmax: before rules and temperature
/// (vLLM's "raw_logprobs").
struct TokenLogprobs {
  int64_t id = 0;  ///< the token that came
  double logprob = 0;
  /// The likeliest ids and theirs, as many as were asked for, largest first.
  std::vector<std::pair<int64_t, double>> top = {};
};

/// Why a text has no further piece.
enum class Finish {
  kNone,       ///< it continues
  kStop,       ///< an end token, or a stop string
  kLength,     ///< max_tokens, the capacity, or the model's positions
  kCancelled,  ///< by its handle, or the engine was stopped
  kDeadline,   ///< its deadline came
  kError       ///< see TextPiece::error
};

/// What is new of one text of a request.
struct TextPiece {
  int64_t index = 0;      ///< of the text, in [0, Request::texts)
  std::string text = {};  ///< UTF-8, whole characters; without what may become a stop string
  std::vector<int64_t> ids = {};             ///< without an end token; with those of a stop string
  std::vector<TokenLogprobs> logprobs = {};  ///< of ids and, last, end_token, where asked for
  /// Of the prompt's ids from the second on, where asked for: in the first piece of text 0, which
  /// has nothing else.
  std::vector<TokenLogprobs> prompt_logprobs = {};
  Finish finish = Finish::kNone;          ///< other than kNone in the last piece of a text alone
  std::optional<int64_t> end_token = {};  ///< the one that came, which is none of the ids
  std::string stop_string = {};           ///< the one that was found
  std::string error = {};                 ///< one line
};

/// Of all texts of a request.
struct Usage {
  int64_t prompt_tokens = 0;      ///< of its prompt, counted once
  int64_t reused_tokens = 0;      ///< of them taken from the cache of another prompt, by text 0
  int64_t completion_tokens = 0;  ///< of all texts, an end token of each included
};

/// Sees and changes the logits of text `index` before each of its tokens, after bias and penalties,
/// before min-p and top-k.
/// @param written  the text's ids so far
/// @param logits   (V) on the model's device; changed in place. A token that must not come gets
///                 lowest_logit: an Inf ends the text as an error.
/// Called on the engine's thread, for one text after the other. What it throws ends the request
/// with that message.
using Constraint =
    std::function<void(int64_t index, std::span<const int64_t> written, at::Tensor& logits)>;

/// The most texts of a request, and likeliest tokens of a place.
inline constexpr int64_t kMostTexts = 128, kMostLogprobs = 100;

struct Request {
  std::string model = {};  ///< a name; empty: the engine's first
  std::vector<int64_t> prompt;
  /// max_tokens of each text: 0 for the prompt alone. `sequence` is that of text 0, text i has
  /// sequence + i. Its stop_tokens are added to the tokenizer's end tokens.
  GenerateOptions options = {};
  bool ignore_end_tokens = false;              ///< of the tokenizer
  std::vector<std::string> stop_strings = {};  ///< end a text and are not part of it
  int64_t texts = 1;                           ///< n
  LogitRules rules = {};
  std::optional<int64_t> logprobs = {};         ///< of each token, with so many alternatives
  std::optional<int64_t> prompt_logprobs = {};  ///< of the prompt, the same
  Constraint constraint = {};
  int priority = 0;  ///< the higher begins the earlier; equal ones in the order they came
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Hears every piece in place of the handle's queue, on the engine's thread: to be quick, and not
  /// to wait for the engine (submit and cancel are fine). What it throws ends the request, and it
  /// is not called again.
  std::function<void(const TextPiece&)> on_piece = {};
};

}  // namespace slice
