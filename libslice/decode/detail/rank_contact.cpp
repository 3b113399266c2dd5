#include "libslice/decode/detail/rank_contact.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/thread.h"
#include "libslice/device/process_group.h"

namespace slice::detail {

using Clock = std::chrono::steady_clock;

RankContact::RankContact(const ProcessGroup& group, std::function<void()> lost)
    : lost_(std::move(lost)),
      end_(eventfd(0, EFD_CLOEXEC)),
      sockets_(sockets_to_ranks(group)),
      gone_(sockets_.size(), false) {
  SLICE_CHECK_AS(Error, end_.get() >= 0, "several GPUs: no more file descriptors");
  gone_[static_cast<size_t>(group.rank())] = true;
  thread_ = start_thread([this] { watch(); });
}

RankContact::~RankContact() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(end_.get(), &one, sizeof one);
  thread_.join();
}

void RankContact::hang_up() noexcept {
  for (const Descriptor& socket : sockets_)
    if (socket.get() >= 0) shutdown(socket.get(), SHUT_RDWR);
}

void RankContact::leave() noexcept {
  const char goodbye = 1;
  for (const Descriptor& socket : sockets_) {
    if (socket.get() < 0) continue;
    // One that has hung up does not get it, which the thread hears.
    [[maybe_unused]] const ssize_t sent = send(socket.get(), &goodbye, 1, MSG_NOSIGNAL);
  }
  std::unique_lock lock(mutex_);
  changes_.wait_for(lock, kFarewell, [this] { return std::ranges::count(gone_, false) == 0; });
}

bool RankContact::hear(size_t rank) {
  char goodbye = 0;
  const bool left = recv(sockets_[rank].get(), &goodbye, 1, MSG_DONTWAIT) == 1;
  const std::lock_guard lock(mutex_);
  gone_[rank] = true;
  changes_.notify_all();
  return !left;
}

void RankContact::watch() {
  std::vector<pollfd> all;  // of the ranks, then of the end; negative ones are not looked at
  for (const Descriptor& socket : sockets_) all.push_back({socket.get(), POLLIN, 0});
  all.push_back({end_.get(), POLLIN, 0});
  std::optional<Clock::time_point> deadline;  // once a rank has left
  bool is_lost = false;
  while (all.back().revents == 0) {
    int patience = -1;
    if (deadline && !is_lost)
      patience = static_cast<int>(std::max<int64_t>(
          0, std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count()));
    const int heard = poll(all.data(), all.size(), patience);
    if (heard < 0 && errno != EINTR) return;
    bool loses = heard == 0;
    for (size_t rank = 0; heard > 0 && rank < sockets_.size(); ++rank) {
      if (all[rank].revents == 0) continue;
      all[rank].fd = -1;
      all[rank].revents = 0;
      if (hear(rank)) loses = true;
      if (!deadline) deadline = Clock::now() + kGrace;
    }
    if (loses && !std::exchange(is_lost, true)) lost_();
  }
}

}  // namespace slice::detail
