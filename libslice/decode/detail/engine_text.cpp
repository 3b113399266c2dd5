#include "libslice/decode/detail/engine_text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>
#include <utility>

#include "libslice/decode/detail/request_state.h"
#include "libslice/decode/detail/token_logprobs.h"

namespace slice::detail {

using at::Tensor;

EngineText::EngineText(std::shared_ptr<ActiveRequest> request, int64_t index,
                       const Tokenizer* tokenizer)
    : request_(std::move(request)), index_(index), stop_(wanted().stop_strings) {
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, wanted().prompt);
  if (wanted().rules.any()) counts_.emplace(wanted().prompt);
}

const Request& EngineText::wanted() const { return request_->state->request; }

TextPiece EngineText::piece() const {
  TextPiece piece;
  piece.index = index_;
  return piece;
}

bool EngineText::sees_prompt() const { return index_ == 0 && wanted().prompt_logprobs; }

void EngineText::see_prompt(const Tensor& logits) {
  const auto& prompt = wanted().prompt;
  const auto known = std::span(prompt).subspan(prompt_logprobs_.size() + 1);
  const auto count = std::min(logits.size(0), std::ssize(known));
  if (count == 0) return;  // what follows the prompt is no token of it
  const auto some = token_logprobs(log_probabilities(logits.narrow(0, 0, count)),
                                   known.first(count), *wanted().prompt_logprobs);
  prompt_logprobs_.insert(prompt_logprobs_.end(), some.begin(), some.end());
}

std::optional<TextPiece> EngineText::prompt_piece() {
  if (!sees_prompt()) return std::nullopt;
  TextPiece prompt = piece();
  prompt.prompt_logprobs = std::move(prompt_logprobs_);
  return prompt;
}

bool EngineText::sees_logits() const { return counts_ || wanted().constraint || wanted().logprobs; }

void EngineText::see_logits(Tensor logits) {
  const Request& request = wanted();
  if (request.logprobs) logprobs_ = log_probabilities(logits.unsqueeze(0));
  if (counts_) penalize_inplace(logits, request.rules, *counts_);
  if (request.constraint) request.constraint(index_, written_, logits);
  if (counts_) truncate_inplace(logits, request.rules, request.options.sampling.temperature);
}

TextPiece EngineText::take(const BatchOutput& output) {
  TextPiece result = piece();
  for (const int64_t id : output.tokens) {
    push(id, result);
    if (stop_.stopped()) break;
  }
  if (stop_.stopped()) {
    finish(Finish::kStop, result);
  } else if (output.ending == Ending::kStop) {
    ++request_->usage.completion_tokens;
    result.end_token = output.stop_token;
    add_logprobs(output.stop_token, result);
    finish(Finish::kStop, result);
  } else if (output.ending == Ending::kBroken) {
    result.error = "the logits hold a NaN or Inf";
    finish(Finish::kError, result);
  } else if (output.ending != Ending::kNone) {
    finish(Finish::kLength, result);
  }
  return result;
}

TextPiece EngineText::ended(Finish how, const std::string& error) {
  TextPiece result = piece();
  result.error = error;
  finish(how, result);
  return result;
}

void EngineText::push(int64_t id, TextPiece& piece) {
  piece.ids.push_back(id);
  written_.push_back(id);
  ++request_->usage.completion_tokens;
  if (counts_) counts_->push(id);
  add_logprobs(id, piece);
  if (decoder_) piece.text += stop_.push(decoder_->push(id));
}

/// Adds those of a token that came, where asked for.
void EngineText::add_logprobs(int64_t id, TextPiece& piece) {
  if (!logprobs_.defined()) return;
  piece.logprobs.push_back(token_logprobs(logprobs_, {&id, 1}, *wanted().logprobs)[0]);
  logprobs_.reset();
}

/// Adds what was held back.
void EngineText::finish(Finish how, TextPiece& piece) {
  piece.finish = how;
  if (decoder_ && !stop_.stopped()) piece.text += stop_.push(decoder_->finish());
  if (!stop_.stopped()) piece.text += stop_.finish();
  piece.stop_string = stop_.found();
  if (stop_.stopped() && how == Finish::kLength) piece.finish = Finish::kStop;
}

}  // namespace slice::detail
