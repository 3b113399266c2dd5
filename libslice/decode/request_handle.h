#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libslice/decode/request.h"

namespace slice {

namespace detail {
class RequestState;
}

/// A request as a whole: its texts, each as one piece.
struct RequestResult {
  std::vector<TextPiece> texts;  ///< by index
  Usage usage;
  std::string error;  ///< the first of the texts' errors, empty where there is none
};

/// One request of an Engine, which it may outlive. Its members may be called by any thread, pieces
/// go to one caller each. Destroying the handle of a request without on_piece cancels it, since
/// nobody could read it.
class RequestHandle {
 public:
  /// Long enough for anything, short enough for a clock.
  static constexpr std::chrono::milliseconds kForever = std::chrono::hours(24 * 365);

  explicit RequestHandle(std::shared_ptr<detail::RequestState> state);
  ~RequestHandle();
  RequestHandle(RequestHandle&&) noexcept;
  RequestHandle& operator=(RequestHandle&&) noexcept;

  /// The next piece of any text, waiting for it.
  /// @return  nothing where the time is up, or every piece was given: finished() says which
  std::optional<TextPiece> next(std::chrono::milliseconds timeout = kForever);
  /// Whether all texts have ended and every piece was given.
  bool finished() const;
  /// Ends all texts where they are, with Finish::kCancelled; returns at once. Pieces so far stay.
  void cancel();
  /// Waits for the end. The texts hold the pieces that next() has not given, and none where the
  /// request has on_piece, but for their finish.
  RequestResult wait();
  /// So far; final once the last piece came.
  Usage usage() const;

 private:
  std::shared_ptr<detail::RequestState> state_;
};

}  // namespace slice
