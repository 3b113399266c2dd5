#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "libslice/decode/engine.h"

namespace serve {

/// The prompts of one HTTP request, as requests of the engine. Ends them where it is destroyed
/// before they ended: a client that is not there any more costs nothing. Used by one thread.
class Job {
 public:
  struct Piece {
    size_t prompt;
    slice::TextPiece piece;
  };
  struct Times {
    double first_token = -1;  ///< seconds from submission; below 0: none came
    double total = 0;
  };

  /// @throws ApiError  as Engine::submit; nothing runs then
  Job(slice::Engine& engine, std::vector<slice::Request> requests);
  ~Job();
  Job(const Job&) = delete;

  /// The next piece of any text, waiting for it.
  std::optional<Piece> next(std::chrono::milliseconds timeout);
  /// Whether every text has ended and its last piece was given.
  bool finished() const { return open_ == 0; }
  /// Sums over the prompts.
  slice::Usage usage();
  Times times() const;

 private:
  class Queue;
  using Clock = std::chrono::steady_clock;

  std::shared_ptr<Queue> queue_;  // the engine's thread pushes
  std::vector<slice::RequestHandle> handles_;
  int64_t open_ = 0;  // texts
  Clock::time_point begin_ = Clock::now();
  std::optional<Clock::time_point> first_ = {};
};

}  // namespace serve
