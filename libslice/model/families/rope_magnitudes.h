#pragma once

#include <cmath>

namespace slice::models {

/// What cosines and sines are multiplied by where a file does not say (RopeScaling::
/// attention_factor), by YaRN.           (arXiv 2309.00071, §3.4)
/// @param share  of the logarithm
inline double usual_yarn_magnitude(double factor, double share = 1) {
  return factor <= 1 ? 1 : 0.1 * share * std::log(factor) + 1;
}

/// The same of longrope.    (Transformers, modeling_rope_utils.py)
/// @param original  the original context
inline double usual_longrope_magnitude(double factor, double original) {
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(original));
}

}  // namespace slice::models
