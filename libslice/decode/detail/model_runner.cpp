#include "libslice/decode/detail/model_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "libslice/decode/detail/current_message.h"
#include "libslice/decode/detail/engine_model.h"
#include "libslice/decode/detail/insist.h"

namespace slice::detail {

namespace {

using Clock = RequestState::Clock;
using Active = std::shared_ptr<ActiveRequest>;

/// Failures in a row after which a model is closed.
constexpr int64_t kMostFailures = 8;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

ModelRunner::ModelRunner(const EngineModel& model, const EngineOptions& options)
    : model_(model),
      tokenizer_(tokenizer_of(model)),
      prompt_chunk_(options.prompt_chunk),
      step_tokens_(step_tokens_of(model, options)),
      log_(options.log),
      batch_(batch_of(model, options)) {
  publish();
}

std::string ModelRunner::closed() const {
  const std::scoped_lock lock(closed_mutex_);
  return closed_;
}

Active ModelRunner::activated(std::shared_ptr<RequestState> state) const {
  auto request = std::make_shared<ActiveRequest>();
  request->options = state->request.options;
  request->usage.prompt_tokens = std::ssize(state->request.prompt);
  request->left = state->request.texts;
  if (tokenizer_ != nullptr && !state->request.ignore_end_tokens)
    for (const int64_t id : tokenizer_->eos_tokens()) request->options.stop_tokens.push_back(id);
  request->state = std::move(state);
  return request;
}

void ModelRunner::accept(const std::shared_ptr<RequestState>& state) {
  const size_t before = starting_.size();
  try {
    const Active request = activated(state);
    for (int64_t index = 0; index < request->left; ++index) starting_.push_back({request, index});
  } catch (...) {
    const std::string error = current_message();
    starting_.resize(before);
    refuse(state, Finish::kError, error);
  }
}

void ModelRunner::refuse(const std::shared_ptr<RequestState>& state, Finish finish,
                         const std::string& error) {
  Active request;
  std::vector<TextPiece> pieces;
  insist([&] {
    request = activated(state);
    pieces.clear();
    for (int64_t index = 0; index < state->request.texts; ++index)
      pieces.push_back({.index = index, .finish = finish, .error = error});
  });
  for (TextPiece& piece : pieces) {
    count_end(*request, finish);
    hand_over(request, std::move(piece));
  }
}

void ModelRunner::turn() {
  end_dead();
  while (!starting_.empty() && batch_.running() < batch_.slots()) {
    const Start text = std::move(starting_.front());
    starting_.pop_front();
    start(text);
  }
  feed_prompts();
  step();
  std::erase_if(texts_, [](const auto& text) { return text->gone; });
  publish();
}

/// Ends requests that were cancelled, or whose deadline came.
void ModelRunner::end_dead() {
  std::vector<Active> all;
  for (const auto& text : texts_) all.push_back(text->request());
  for (const Start& text : starting_) all.push_back(text.request);
  const auto now = Clock::now();
  for (const Active& request : all) {
    if (request->left == 0) continue;
    if (request->state->cancelled()) {
      end_request(request, Finish::kCancelled);
    } else if (request->state->expired(now)) {
      end_request(request, Finish::kDeadline);
    }
  }
}

void ModelRunner::start(const Start& start) {
  const RequestState& state = *start.request->state;
  if (start.index == 0)
    statistics.change([&](auto& s) { s.queue_seconds += seconds_since(state.submitted); });
  try {
    auto text = std::make_unique<EngineText>(start.request, start.index, tokenizer_);
    GenerateOptions options = start.request->options;
    options.sequence += static_cast<uint64_t>(start.index);
    options.max_tokens = std::max<int64_t>(1, options.max_tokens);
    text->batch_id = batch_.begin(state.request.prompt, options).value();
    texts_.push_back(std::move(text));
  } catch (...) {
    const std::string error = current_message();
    starting_.push_front(start);  // one of those that end
    end_request(start.request, Finish::kError, error);
  }
}

/// Shows texts the logits of their next token. @return  whether any sees them
bool ModelRunner::show_logits() {
  bool any = false;
  for (const auto& text : texts_) {
    if (text->gone || !text->has_prompt || !text->sees_logits()) continue;
    try {
      text->see_logits(batch_.logits(text->batch_id));
      any = true;
    } catch (...) {
      end_request(text->request(), Finish::kError, current_message());
    }
  }
  return any;
}

void ModelRunner::step() {
  const bool one = show_logits();
  const auto runs = [](const auto& text) { return !text->gone && text->has_prompt; };
  if (std::none_of(texts_.begin(), texts_.end(), runs)) return;
  const auto begin = Clock::now();
  std::vector<BatchOutput> outputs;
  try {
    outputs = batch_.step(one ? 1 : step_tokens_);
    failures_ = 0;
  } catch (...) {
    const std::string error = current_message();
    failed("a step failed: " + error);
    for (const auto& text : texts_)
      if (runs(text)) end_request(text->request(), Finish::kError, error);
    return;
  }
  statistics.change([&](auto& s) {
    ++s.steps;
    s.step_seconds += seconds_since(begin);
  });
  for (const BatchOutput& output : outputs) {
    const auto text = std::find_if(texts_.begin(), texts_.end(), [&](const auto& t) {
      return !t->gone && t->batch_id == output.id;
    });
    if (text == texts_.end()) continue;  // its request has ended
    (*text)->ended_there = output.ending != Ending::kNone;
    deliver(**text, (*text)->take(output));
  }
}

/// Hands over a piece of a text that has a slot, and counts it.
void ModelRunner::deliver(EngineText& text, TextPiece piece) {
  const Active request = text.request();
  statistics.change([&](auto& s) {
    s.completion_tokens += std::ssize(piece.ids);
    if (piece.ids.empty() || request->has_token) return;
    request->has_token = true;
    ++s.first_tokens;
    s.first_token_seconds += seconds_since(request->state->submitted);
  });
  if (piece.finish != Finish::kNone) {
    text.gone = true;
    leave_batch(text);
    count_end(*request, piece.finish);
    publish();
  }
  hand_over(request, std::move(piece));
}

void ModelRunner::hand_over(const Active& request, TextPiece piece) {
  try {
    request->state->deliver(std::move(piece), request->usage);
  } catch (...) {
    end_request(request, Finish::kError, current_message());
  }
}

void ModelRunner::end_request(const Active& request, Finish finish, const std::string& error) {
  std::vector<TextPiece> unstarted;  // whole before anything is taken away
  for (const Start& start : starting_)
    if (start.request == request)
      unstarted.push_back({.index = start.index, .finish = finish, .error = error});
  std::erase_if(starting_, [&](const Start& start) { return start.request == request; });
  for (const auto& text : texts_)
    if (text->request() == request && !text->gone) deliver(*text, text->ended(finish, error));
  for (TextPiece& piece : unstarted) {
    count_end(*request, finish);
    hand_over(request, std::move(piece));
  }
}

void ModelRunner::end_all(Finish finish, const std::string& error) {
  while (!starting_.empty()) end_request(Active(starting_.front().request), finish, error);
  for (const auto& text : texts_)
    if (!text->gone) end_request(text->request(), finish, error);
  texts_.clear();
  publish();
}

void ModelRunner::leave_batch(EngineText& text) {
  if (text.ended_there) return;
  text.ended_there = true;
  try {
    batch_.remove(text.batch_id);
  } catch (...) {  // of the device: its slot is free
    failed("keys and values were not kept: " + current_message());
  }
}

void ModelRunner::count_end(ActiveRequest& request, Finish finish) {
  request.worst = std::max(request.worst, finish);
  if (--request.left > 0) return;
  statistics.count_ended(request.worst, seconds_since(request.state->submitted));
}

void ModelRunner::failed(const std::string& error) {
  if (log_) log_(model_.name + ": " + error);
  if (++failures_ != kMostFailures) return;
  if (log_)
    log_(model_.name + ": closed after " + std::to_string(failures_) + " failures in a row");
  const std::scoped_lock lock(closed_mutex_);
  closed_ = error;
}

void ModelRunner::publish() {
  statistics.change([&](auto& s) {
    s.running = batch_.running();
    s.slots = batch_.slots();
    s.cached_positions = batch_.cached_positions();
    s.positions = batch_.slots() * model_.capacity;
    s.prefix_bytes = batch_.prefix_bytes();
  });
}

void ModelRunner::warm_up() {
  const int64_t length = std::min(prompt_chunk_, positions_of(model_) - 1);
  if (!busy() && length > 0) run_every_number(batch_, length);
}

}  // namespace slice::detail
