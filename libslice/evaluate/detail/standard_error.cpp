#include "libslice/evaluate/detail/standard_error.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "libslice/evaluate/detail/python_random.h"

namespace slice::detail {
namespace {

double mean(std::span<const double> numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0) / static_cast<double>(numbers.size());
}

double deviation(std::span<const double> numbers) {
  const double middle = mean(numbers);
  double sum = 0;
  for (const double x : numbers) sum += (x - middle) * (x - middle);
  return std::sqrt(sum / static_cast<double>(numbers.size() - 1));
}

}  // namespace

double mean_error(std::span<const double> numbers) {
  return deviation(numbers) / std::sqrt(static_cast<double>(numbers.size()));
}

double perplexity_error(std::span<const double> log_likelihoods) {
  constexpr int64_t kSeeds = 100, kResamplings = 1000;
  const double n = static_cast<double>(log_likelihoods.size());
  std::vector<double> perplexities(kSeeds * kResamplings);
  at::parallel_for(0, kSeeds, 1, [&](int64_t begin, int64_t end) {
    for (int64_t seed = begin; seed < end; ++seed) {
      PythonRandom random(static_cast<uint32_t>(seed));
      for (int64_t i = 0; i < kResamplings; ++i) {
        double sum = 0;
        for (size_t j = 0; j < log_likelihoods.size(); ++j)
          sum += log_likelihoods[static_cast<size_t>(random.uniform() * n)];
        perplexities[seed * kResamplings + i] = std::exp(-sum / n);
      }
    }
  });
  return deviation(perplexities);
}

}  // namespace slice::detail
