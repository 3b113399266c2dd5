#pragma once

#include <array>
#include <cstdint>

namespace slice::detail {

/// Python's random.Random: the numbers that lm-evaluation-harness draws. Mersenne Twister
/// (Matsumoto and Nishimura 1998), seeded by an array of one word.
class PythonRandom {
 public:
  explicit PythonRandom(uint32_t seed);
  /// random(): uniform in [0, 1), 53 bits.
  double uniform();
  /// randrange(n), n > 0.
  uint32_t below(uint32_t n);

 private:
  static constexpr int kWords = 624;
  uint32_t next();
  void turn();

  std::array<uint32_t, kWords> state_;
  int used_ = kWords;
};

}  // namespace slice::detail
