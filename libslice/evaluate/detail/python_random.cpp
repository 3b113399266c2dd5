#include "libslice/evaluate/detail/python_random.h"

#include <bit>

namespace slice::detail {
namespace {

uint32_t mixed(uint32_t word) { return word ^ (word >> 30); }

}  // namespace

PythonRandom::PythonRandom(uint32_t seed) {
  state_[0] = 19650218;
  for (int i = 1; i < kWords; ++i) state_[i] = 1812433253u * mixed(state_[i - 1]) + uint32_t(i);
  int i = 1;
  const auto step = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (int n = 0; n < kWords; ++n, step())
    state_[i] = (state_[i] ^ (mixed(state_[i - 1]) * 1664525u)) + seed;
  for (int n = 1; n < kWords; ++n, step())
    state_[i] = (state_[i] ^ (mixed(state_[i - 1]) * 1566083941u)) - uint32_t(i);
  state_[0] = 0x80000000u;
}

void PythonRandom::turn() {
  constexpr int kShift = 397;
  for (int i = 0; i < kWords; ++i) {
    const uint32_t joined = (state_[i] & 0x80000000u) | (state_[(i + 1) % kWords] & 0x7fffffffu);
    state_[i] = state_[(i + kShift) % kWords] ^ (joined >> 1) ^ (joined & 1 ? 0x9908b0dfu : 0u);
  }
  used_ = 0;
}

uint32_t PythonRandom::next() {
  if (used_ == kWords) turn();
  uint32_t word = state_[used_++];
  word ^= word >> 11;
  word ^= (word << 7) & 0x9d2c5680u;
  word ^= (word << 15) & 0xefc60000u;
  return word ^ (word >> 18);
}

double PythonRandom::uniform() {
  const uint64_t high = next() >> 5, low = next() >> 6;
  return static_cast<double>((high << 26) + low) / static_cast<double>(uint64_t{1} << 53);
}

uint32_t PythonRandom::below(uint32_t n) {
  const int bits = std::bit_width(n);
  uint32_t drawn = next() >> (32 - bits);
  while (drawn >= n) drawn = next() >> (32 - bits);
  return drawn;
}

}  // namespace slice::detail
