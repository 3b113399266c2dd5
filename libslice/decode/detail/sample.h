#pragma once

#include <array>
#include <cstdint>
#include <vector>

// How a token is sampled. Logits become whole numbers at once, and everything after that is integer
// arithmetic: sums come out the same in any order, so the CPU and cuda/sample_token.h sample the
// same token from the same float32 logits.
//
//   qᵢ = ⌊(max l − lᵢ) · steps⌉       steps = 2¹⁸ / (T ln 2); in float32, halves to even
//   wᵢ = 2³⁸ · 2^(−qᵢ / 2¹⁸)          to 1e-7 of itself, cut to a whole number; 0 from q = 38 · 2¹⁸ on
//   nucleus: the fewest tokens, smallest q first and of equal ones the lowest id,
//            with Σ w ≥ top_p Σ w of all
//   r = ⌊random · Σ w / 2⁶⁴⌋          over the nucleus
//   token: the first in the order of ids for which the nucleus' sum up to it is above r
//
// `random` is 64 bits of Philox4x32-10 at (position, sequence), key seed: a sample does not depend
// on any other, nor on the batch that it is made in.

namespace slice::detail {

/// Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011): 128 random
/// bits that are a function of a counter and a key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// What the formulas above take of a temperature and of top_p.
struct SampleScale {
  float steps = 0;     ///< infinity at temperature 0: the most likely token, of equals the first
  uint64_t top_p = 0;  ///< ⌈2³² · top_p⌉
};

/// @param temperature  at least 0    @param top_p  in (0, 1]
SampleScale sample_scale(double temperature, double top_p);

/// 2³⁸ · 2^(−q / 2¹⁸).
uint64_t sample_weight(uint32_t q);

/// Ids below it fit into the sums.
inline constexpr int64_t kMostSampleIds = int64_t{1} << 24;

/// @param logits  no NaN, at least one, at most kMostSampleIds    @return  an id
/// Cost: five passes at most, 8 bytes an id.
int64_t sample_id(const std::vector<float>& logits, const SampleScale& scale, uint64_t seed,
                  uint64_t sequence, uint64_t position);

}  // namespace slice::detail
