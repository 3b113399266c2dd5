#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

// The oracle of samples: softmax, nucleus and inverse CDF in float64, by a sort.

namespace slice::test {

/// By how much of the whole mass `token` misses being the one that `random` samples, less what
/// rounded probabilities explain: at most 0 where it is right.
///
/// Explained are 1e-5 of the mass (probabilities are that exact relative to themselves) and, since
/// the last token of the nucleus may be a neighbour that is as likely to 1e-5, the mass of one and
/// of all such neighbours. Exact ties count by their ids.
inline double sample_miss(const std::vector<double>& logits, double temperature, double top_p,
                          uint64_t random, int64_t token) {
  constexpr double kExact = 1e-5;
  const size_t V = logits.size();
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(V);
  for (size_t i = 0; i < V; ++i)
    p[i] = logits[i] == largest ? 1 : std::exp((logits[i] - largest) / temperature);
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  std::vector<size_t> order(V);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  std::vector<bool> in(V, false);
  double mass = 0, last = 0;
  for (size_t rank = 0; rank < V && (top_p == 1 || mass < top_p * total); ++rank) {
    in[order[rank]] = true;
    mass += last = p[order[rank]];
  }
  double neighbours = 0;
  for (const double value : p)
    if (value != last && std::abs(value - last) < kExact * last) neighbours += value;
  const double explained = top_p == 1 ? kExact * total : kExact * total + last + neighbours;

  const auto sampled = static_cast<size_t>(token);
  if (!in[sampled] && (p[sampled] == 0 || p[sampled] < last * (1 - kExact)))
    return std::numeric_limits<double>::infinity();
  double below = 0;
  for (size_t i = 0; i < sampled; ++i) below += in[i] ? p[i] : 0;
  const double u = static_cast<double>(random) * 0x1p-64 * mass;
  return (std::max(below - u, u - below - p[sampled]) - explained) / total;
}

}  // namespace slice::test
