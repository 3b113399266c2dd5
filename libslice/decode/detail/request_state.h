#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libslice/decode/request.h"
#include "libslice/decode/request_handle.h"

namespace slice::detail {

/// What an engine's thread and the holder of a handle share of a request.
class RequestState {
 public:
  using Clock = std::chrono::steady_clock;

  explicit RequestState(Request request);

  // The holder's side: as RequestHandle.
  std::optional<TextPiece> next(std::chrono::milliseconds timeout);
  bool finished() const;
  void cancel() { cancelled_ = true; }
  RequestResult wait();
  Usage usage() const;

  // The engine's side: one thread.
  bool cancelled() const { return cancelled_; }
  bool expired(Clock::time_point now) const { return request.deadline && now >= *request.deadline; }
  /// Hands a piece over. Throws what on_piece throws, which is not called again; the piece counts.
  void deliver(TextPiece piece, const Usage& usage);

  const Request request;
  const Clock::time_point submitted = Clock::now();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<TextPiece> pieces_;  // not given yet
  /// The last piece of each text where on_piece heard it, or there was no memory for it among the
  /// others; has room for all of them from the beginning.
  std::vector<TextPiece> endings_;
  int64_t left_;  // texts that have not ended
  Usage usage_;
  bool deaf_ = false;  // on_piece threw
  std::atomic<bool> cancelled_ = false;
};

}  // namespace slice::detail
