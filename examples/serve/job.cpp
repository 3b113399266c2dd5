#include "examples/serve/job.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

namespace serve {

class Job::Queue {
 public:
  void push(Piece piece) {
    {
      const std::lock_guard lock(mutex_);
      pieces_.push_back(std::move(piece));
    }
    changed_.notify_one();
  }

  std::optional<Piece> pop(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [this] { return !pieces_.empty(); })) return std::nullopt;
    Piece piece = std::move(pieces_.front());
    pieces_.pop_front();
    return piece;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> pieces_;
};

Job::Job(slice::Engine& engine, std::vector<slice::Request> requests)
    : queue_(std::make_shared<Queue>()) {
  try {
    for (size_t i = 0; i < requests.size(); ++i) {
      const int64_t texts = requests[i].texts;
      requests[i].on_piece = [queue = queue_, i](const slice::TextPiece& piece) {
        queue->push({i, piece});
      };
      handles_.push_back(engine.submit(std::move(requests[i])));
      open_ += texts;
    }
  } catch (...) {
    for (slice::RequestHandle& handle : handles_) handle.cancel();
    throw;
  }
}

Job::~Job() {
  if (finished()) return;
  for (slice::RequestHandle& handle : handles_) handle.cancel();
}

std::optional<Job::Piece> Job::next(std::chrono::milliseconds timeout) {
  std::optional<Piece> piece = queue_->pop(timeout);
  if (!piece) return piece;
  if (!first_ && !piece->piece.ids.empty()) first_ = Clock::now();
  if (piece->piece.finish != slice::Finish::kNone) --open_;
  return piece;
}

slice::Usage Job::usage() {
  slice::Usage sum;
  for (slice::RequestHandle& handle : handles_) {
    const slice::Usage one = handle.usage();
    sum.prompt_tokens += one.prompt_tokens;
    sum.reused_tokens += one.reused_tokens;
    sum.completion_tokens += one.completion_tokens;
  }
  return sum;
}

Job::Times Job::times() const {
  const auto seconds = [this](Clock::time_point time) {
    return std::chrono::duration<double>(time - begin_).count();
  };
  return {first_ ? seconds(*first_) : -1, seconds(Clock::now())};
}

}  // namespace serve
