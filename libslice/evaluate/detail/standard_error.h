#pragma once

#include <span>

namespace slice::detail {

/// Of the mean of at least two numbers: their sample deviation / √n.
double mean_error(std::span<const double> numbers);

/// Of exp(−mean) by 10^5 resamplings with the harness's seeds, 1000 each of 0 … 99.
/// Cost: 10^5 · n draws, on all threads.
double perplexity_error(std::span<const double> log_likelihoods);

}  // namespace slice::detail
