#pragma once

#include <chrono>
#include <cstdint>

namespace slice::detail {

/// How long a kernel waits for another rank's numbers: longer than captures and prefills of one rank
/// that others have behind them already.
inline constexpr std::chrono::seconds kPeerPatience{60};

/// The host's word by which kernels say that they wait no more, and are told (cuda/peer_ranks.h).
class LostWord {
 public:
  LostWord();
  ~LostWord();
  LostWord(const LostWord&) = delete;

  int32_t* on_device() const { return word_; }  // the same address on every device
  void stop();
  void clear();
  /// @throws Error  kernels wait no more
  void check() const;

 private:
  int32_t* word_ = nullptr;
};

}  // namespace slice::detail
