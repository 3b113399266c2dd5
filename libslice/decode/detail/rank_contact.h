#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "libslice/decode/detail/rank_sockets.h"

namespace slice::detail {

/// By which each process of a group on one host hears at once that another one has failed or was
/// killed: the system closes the sockets of a process, whatever ends it.
class RankContact {
 public:
  /// How long a rank may work on after another has left. It has all that it needs from that one,
  /// unless they do not make the same calls.
  static constexpr std::chrono::milliseconds kGrace{1000};
  /// How long a rank that leaves waits for the others.
  static constexpr std::chrono::seconds kFarewell{10};

  /// @param lost  called by a thread of this, once: another rank has hung up, or left for too long
  /// @throws DeviceError, Error  as sockets_to_ranks
  RankContact(const ProcessGroup& group, std::function<void()> lost);
  /// Hangs up.
  ~RankContact();
  RankContact(const RankContact&) = delete;

  /// This rank has failed: all others hear of it, and this one too.
  void hang_up() noexcept;
  /// This rank needs the others no more. Waits until they need this one no more.
  void leave() noexcept;

 private:
  void watch();
  /// Of what a socket has. @return  whether contact is lost
  bool hear(size_t rank);

  std::function<void()> lost_;
  Descriptor end_;  // readable when the thread is to end
  std::vector<Descriptor> sockets_;
  std::mutex mutex_;  // of what follows
  std::condition_variable changes_;
  std::vector<bool> gone_;  // of each rank: it has left or hung up
  std::thread thread_;
};

}  // namespace slice::detail
