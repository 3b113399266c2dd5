#include "libslice/decode/detail/request_state.h"

#include <exception>
#include <iterator>
#include <new>
#include <utility>

namespace slice::detail {

RequestState::RequestState(Request r) : request(std::move(r)), left_(request.texts) {
  endings_.reserve(static_cast<size_t>(left_));
}

std::optional<TextPiece> RequestState::next(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [&] { return !pieces_.empty() || left_ == 0; });
  if (!pieces_.empty()) {
    TextPiece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }
  if (request.on_piece || endings_.empty()) return std::nullopt;
  TextPiece piece = std::move(endings_.back());
  endings_.pop_back();
  return piece;
}

bool RequestState::finished() const {
  const std::scoped_lock lock(mutex_);
  return left_ == 0 && pieces_.empty() && (request.on_piece || endings_.empty());
}

Usage RequestState::usage() const {
  const std::scoped_lock lock(mutex_);
  return usage_;
}

namespace {

template <typename T>
void append(std::vector<T>& all, std::vector<T>& more) {
  all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

}  // namespace

RequestResult RequestState::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return left_ == 0; });
  RequestResult result;
  result.usage = usage_;
  for (int64_t index = 0; index < request.texts; ++index) result.texts.emplace_back().index = index;
  const auto add = [&](TextPiece& piece) {
    TextPiece& whole = result.texts.at(static_cast<size_t>(piece.index));
    whole.text += piece.text;
    append(whole.ids, piece.ids);
    append(whole.logprobs, piece.logprobs);
    append(whole.prompt_logprobs, piece.prompt_logprobs);
    if (piece.finish == Finish::kNone) return;
    whole.finish = piece.finish;
    whole.end_token = piece.end_token;
    whole.stop_string = std::move(piece.stop_string);
    whole.error = std::move(piece.error);
    if (result.error.empty()) result.error = whole.error;
  };
  for (TextPiece& piece : pieces_) add(piece);
  for (TextPiece& piece : endings_) add(piece);
  pieces_.clear();
  endings_.clear();
  return result;
}

void RequestState::deliver(TextPiece piece, const Usage& usage) {
  const bool ends = piece.finish != Finish::kNone, hears = request.on_piece && !deaf_;
  std::exception_ptr error;
  {
    const std::scoped_lock lock(mutex_);
    usage_ = usage;
  }
  if (hears) {
    try {
      request.on_piece(piece);
    } catch (...) {
      deaf_ = true;
      error = std::current_exception();
    }
  }
  {
    const std::scoped_lock lock(mutex_);
    if (request.on_piece) {
      if (ends)
        endings_.push_back({.index = piece.index,
                            .finish = piece.finish,
                            .stop_string = std::move(piece.stop_string),
                            .error = std::move(piece.error)});
    } else {
      try {
        pieces_.push_back(std::move(piece));
      } catch (const std::bad_alloc&) {  // the piece is as it was
        if (!ends) throw;
        endings_.push_back(std::move(piece));
      }
    }
    if (ends) --left_;
  }
  changed_.notify_all();
  if (error) std::rethrow_exception(error);
}

}  // namespace slice::detail
