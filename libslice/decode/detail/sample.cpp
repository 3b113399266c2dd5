#include "libslice/decode/detail/sample.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace slice::detail {

namespace {

constexpr int kFractionBits = 18;                   // of q
constexpr uint32_t kEnd = 38u << kFractionBits;     // a token from here on weighs nothing
constexpr int kBucketBits = 12;                     // of q, in a bucket
constexpr uint32_t kInBucket = 1u << kBucketBits;   // numbers in a bucket
constexpr uint32_t kBuckets = kEnd >> kBucketBits;  // that weigh anything

uint64_t high_product(uint64_t a, uint64_t b) {
  const uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
  return a1 * b1 + (middle >> 32) + (((middle & 0xffffffffu) + a0 * b1) >> 32);
}

uint32_t distance(float largest, float logit, float steps) {
  if (logit == largest) return 0;  // two infinities, too
  return static_cast<uint32_t>(
      std::lrintf(std::min((largest - logit) * steps, static_cast<float>(kEnd))));
}

/// Where the nucleus ends: all tokens of a smaller q, and the first `ties` of this one.
struct Boundary {
  uint32_t q = kEnd;
  uint64_t ties = 0;
};

/// The q at which the sum of weight(q), q from 0 on, reaches `target`; `before`: the sum below it.
template <typename Weight>
uint32_t reach(uint64_t target, uint64_t& before, Weight&& weight) {
  uint32_t q = 0;
  for (uint64_t more; before + (more = weight(q)) < target; ++q) before += more;
  return q;
}

Boundary nucleus(const std::vector<uint32_t>& distances, uint64_t top_p) {
  std::vector<uint64_t> sums(kBuckets, 0);
  uint64_t total = 0;
  for (const uint32_t q : distances) {
    if (q >= kEnd) continue;
    sums[q >> kBucketBits] += sample_weight(q);
    total += sample_weight(q);
  }
  const uint64_t target =
      (total >> 32) * top_p + (((total & 0xffffffffu) * top_p + 0xffffffffu) >> 32);
  uint64_t before = 0;
  const uint32_t bucket = reach(target, before, [&](uint32_t b) { return sums[b]; });
  std::vector<uint64_t> counts(kInBucket, 0);
  for (const uint32_t q : distances)
    if (q >> kBucketBits == bucket) ++counts[q % kInBucket];
  const uint32_t first = bucket << kBucketBits;
  const uint32_t q = first + reach(target, before, [&](uint32_t i) {
                       return counts[i] * sample_weight(first + i);
                     });
  return {q, (target - before + sample_weight(q) - 1) / sample_weight(q)};
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> x, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53u} * x[0], b = uint64_t{0xcd9e8d57u} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9e3779b9u, key[1] + 0xbb67ae85u};
  }
  return x;
}

SampleScale sample_scale(double temperature, double top_p) {
  constexpr double kStepsAtOne = (1 << kFractionBits) * 1.4426950408889634;  // / ln 2
  constexpr double kLeast = std::numeric_limits<float>::min(),
                   kMost = std::numeric_limits<float>::max();
  return {temperature == 0
              ? std::numeric_limits<float>::infinity()
              : static_cast<float>(std::clamp(kStepsAtOne / temperature, kLeast, kMost)),
          static_cast<uint64_t>(std::ceil(top_p * 0x1p32))};
}

uint64_t sample_weight(uint32_t q) {
  // 2^(−z) in 31 bits, z in [0, 1) in 32: a minimax polynomial with the right ends.
  constexpr uint32_t kCoefficients[] = {2017913, 19743547, 118729929, 515776678, 1488514208};
  if (q >= kEnd) return 0;
  const uint32_t z = q << (32 - kFractionBits);
  uint32_t sum = kCoefficients[0];
  for (int i = 1; i < 5; ++i)
    sum = kCoefficients[i] - static_cast<uint32_t>(uint64_t{z} * sum >> 32);
  sum = 0x80000000u - static_cast<uint32_t>(uint64_t{z} * sum >> 32);
  return (uint64_t{sum} << 7) >> (q >> kFractionBits);
}

int64_t sample_id(const std::vector<float>& logits, const SampleScale& scale, uint64_t seed,
                  uint64_t sequence, uint64_t position) {
  const auto most = std::max_element(logits.begin(), logits.end());  // the first of equals
  if (std::isinf(scale.steps)) return most - logits.begin();
  std::vector<uint32_t> distances(logits.size());
  std::transform(logits.begin(), logits.end(), distances.begin(),
                 [&](float logit) { return distance(*most, logit, scale.steps); });
  const Boundary end = scale.top_p >> 32 != 0 ? Boundary() : nucleus(distances, scale.top_p);

  /// Calls `visit` with every id of the nucleus and its weight, until that says true.
  const auto find = [&](auto&& visit) {
    uint64_t ties = end.ties;
    for (size_t id = 0; id < distances.size(); ++id) {
      const uint32_t q = distances[id];
      if (q < end.q || (q == end.q && ties > 0)) {
        if (q == end.q) --ties;
        if (visit(sample_weight(q))) return static_cast<int64_t>(id);
      }
    }
    return int64_t{-1};
  };
  uint64_t mass = 0;
  find([&](uint64_t weight) {
    mass += weight;
    return false;
  });
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto bits = philox({low(position), low(position >> 32), low(sequence), low(sequence >> 32)},
                           {low(seed), low(seed >> 32)});
  uint64_t left = high_product(uint64_t{bits[1]} << 32 | bits[0], mass);
  return find([&](uint64_t weight) {
    if (left < weight) return true;
    left -= weight;
    return false;
  });
}

}  // namespace slice::detail
