#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cuda/decode_linear.h"
#include "tests/support/kernel_reference.h"

// The oracle of decode_linear: one entry of Y in float64, and how far a kernel's may be from it.

namespace slice::test {

using kernels::Epilogue;

/// The operands as the kernel gets them, rounded; an empty vector is an absent one. x, y, z and r
/// have row strides, of which `y_gap` is the excess over Y's columns.
struct DecodeLinearProblem {
  DataType type = DataType::kFloat16;
  int64_t M = 0, N = 0, K = 0, K2 = 0, residual_columns = 0;
  int64_t x_stride = 0, z_stride = 0, r_stride = 0, y_gap = 0;
  int64_t norm_hidden = 0;
  double eps = 0, scale = 1;
  double x_error = 0;  // X is rounded by the kernel, and so far off before
  Epilogue epilogue = Epilogue::kNone;
  std::vector<double> X, W, Z, V, bias, R, diagonal, norm_weight;

  int64_t columns() const { return kernels::is_gated(epilogue) ? N / 2 : N; }
};

struct DecodeLinearEntry {
  double value;
  double bound;
};

/// The sum before the epilogue that W's row `w` makes with X's row `m`.
inline DecodeLinearEntry decode_linear_sum(const DecodeLinearProblem& p, int64_t m, int64_t w) {
  double squares = 0, first = 0, first_size = 0, second = 0, second_size = 0;
  for (int64_t k = 0; k < p.K; ++k) {
    const double x = p.X[m * p.x_stride + k];
    const double term = x * (p.norm_weight.empty() ? 1 : p.norm_weight[k]) * p.W[w * p.K + k];
    squares += x * x;
    first += term;
    first_size += std::abs(term);
  }
  for (int64_t k = 0; k < p.K2; ++k) {
    const double term = p.Z[m * p.z_stride + k] * p.V[w * p.K2 + k];
    second += term;
    second_size += std::abs(term);
  }
  const double scale =
      p.norm_hidden > 0 ? 1 / std::sqrt(squares / static_cast<double>(p.norm_hidden) + p.eps) : 1;
  const double bias = p.bias.empty() ? 0 : p.bias[w];
  const double size = scale * first_size + second_size + std::abs(bias);
  // No partial sum has more than a 32nd of the terms and 32 more; the norm's factor errs as much.
  const double additions = static_cast<double>(p.K + p.K2) / 32 + 32;
  double bound = 2 * additions * accumulator_epsilon(p.type) * size;
  if (!p.norm_weight.empty() || p.x_error > 0) {
    bound += scale * (epsilon(p.type) * first_size + static_cast<double>(p.K) * largest(p.W) *
                                                         (smallest_step(p.type) + p.x_error));
  }
  return {scale * first + second + bias, bound};
}

inline double decode_linear_activated(double x, Epilogue epilogue) {
  switch (epilogue) {
    case Epilogue::kRelu:
      return std::max(x, 0.0);
    case Epilogue::kRelu2:
      return std::max(x, 0.0) * std::max(x, 0.0);
    case Epilogue::kGelu:
      return x / 2 * (1 + std::erf(x / std::sqrt(2.0)));
    case Epilogue::kGeluTanh:
    case Epilogue::kGatedGeluTanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Epilogue::kGatedSilu:
      return x / (1 + std::exp(-x));
    default:
      return x;
  }
}

inline DecodeLinearEntry decode_linear_entry(const DecodeLinearProblem& p, int64_t m,
                                             int64_t column) {
  constexpr double kSlope = 1.2;  // no activation but the square is steeper
  const double own = accumulator_epsilon(p.type);
  double value, bound;
  if (kernels::is_gated(p.epilogue)) {
    const DecodeLinearEntry gate = decode_linear_sum(p, m, 2 * column);
    const DecodeLinearEntry up = decode_linear_sum(p, m, 2 * column + 1);
    const double factor = decode_linear_activated(gate.value, p.epilogue);
    const double factor_bound = kSlope * gate.bound + 8 * own * std::abs(gate.value);
    value = factor * up.value;
    bound = factor_bound * (std::abs(up.value) + up.bound) + std::abs(factor) * up.bound +
            own * std::abs(value);
  } else {
    const DecodeLinearEntry sum = decode_linear_sum(p, m, column);
    value = decode_linear_activated(sum.value, p.epilogue);
    const bool squares = p.epilogue == Epilogue::kRelu2;
    bound = (squares ? 2 * std::abs(sum.value) + sum.bound : kSlope) * sum.bound;
    if (p.epilogue != Epilogue::kNone) bound += 8 * own * std::abs(squares ? value : sum.value);
  }
  const double scale_bound = p.scale == 1 ? 0 : 2 * own * std::abs(p.scale * value);
  value *= p.scale;
  bound = bound * std::abs(p.scale) + scale_bound;
  if (column < p.residual_columns) {
    const double residual =
        p.R[m * p.r_stride + column] * (p.diagonal.empty() ? 1 : p.diagonal[column]);
    value += residual;
    bound += 2 * own * (std::abs(residual) + std::abs(value));
  }
  return {value, bound + epsilon(p.type) * std::abs(value) + smallest_step(p.type)};
}

}  // namespace slice::test
