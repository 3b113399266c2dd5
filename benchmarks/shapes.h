#pragma once

#include <array>
#include <cstdint>

// The sizes that every test and benchmark of a kernel draws from.

namespace slice::shapes {

/// Row counts that fill no tile: none, one, primes and odd numbers on both sides of a tile.
inline constexpr std::array<int64_t, 5> kAwkwardRows = {0, 1, 19, 99, 989};

/// Column counts without (111) and with half (500) of the alignment that vector accesses want.
inline constexpr std::array<int64_t, 2> kAwkwardColumns = {111, 500};

/// Sizes of a real model: hidden D, FFN width F, and k, what a 25 % slice keeps of D (rounded down
/// to 8).
struct ModelShape {
  const char* name;
  int64_t hidden;
  int64_t ffn;
  int64_t kept;
};

inline constexpr std::array<ModelShape, 5> kModels = {{
    {"smollm2-135m", 576, 1536, 432},
    {"phi-2", 2560, 10240, 1920},
    {"llama2-7b", 4096, 11008, 3072},
    {"llama2-13b", 5120, 13824, 3840},
    {"llama2-70b", 8192, 28672, 6144},
}};

}  // namespace slice::shapes
