#pragma once

#include <cstdint>
#include <vector>

namespace slice {

/// How rotary frequencies are scaled for contexts longer than the original one.
struct RopeScaling {
  enum class Kind {
    kLinear,    ///< every frequency is divided by the factor
    kLlama3,    ///< low frequencies are divided, high ones are not, with a smooth transition
    kYarn,      ///< the same with a transition that is linear in the frequency's number
    kLongRope,  ///< each frequency has a divisor of its own, past the original context another one
    kDynamic,   ///< past the original context the base grows with the length
  };
  Kind kind = Kind::kLinear;
  double factor = 1;
  /// Llama 3, YaRN: a frequency is low or high when it makes fewer or more turns than this within
  /// the original context.
  double low_frequency_factor = 1, high_frequency_factor = 4;
  int64_t original_context = 8192;  ///< positions; of every kind but the linear one
  /// What cosines and sines are multiplied by, so that q·k grows by its square. YaRN, longrope.
  double attention_factor = 1;
  bool whole_dimensions = true;  ///< YaRN: the transition begins and ends at whole numbers
  /// Longrope: divisors of the frequencies (r/2), of texts within the original context and past it.
  std::vector<double> short_factors = {}, long_factors = {};

  bool operator==(const RopeScaling&) const = default;
};

}  // namespace slice
