#include "libslice/decode/request_handle.h"

#include <utility>

#include "libslice/decode/detail/request_state.h"

namespace slice {

RequestHandle::RequestHandle(std::shared_ptr<detail::RequestState> state)
    : state_(std::move(state)) {}

RequestHandle::~RequestHandle() {
  if (state_ && !state_->request.on_piece) state_->cancel();
}

RequestHandle::RequestHandle(RequestHandle&&) noexcept = default;

RequestHandle& RequestHandle::operator=(RequestHandle&& other) noexcept {
  RequestHandle old(std::move(other));
  std::swap(state_, old.state_);
  return *this;
}

std::optional<TextPiece> RequestHandle::next(std::chrono::milliseconds timeout) {
  return state_->next(timeout);
}

bool RequestHandle::finished() const { return state_->finished(); }
void RequestHandle::cancel() { state_->cancel(); }
RequestResult RequestHandle::wait() { return state_->wait(); }
Usage RequestHandle::usage() const { return state_->usage(); }

}  // namespace slice
