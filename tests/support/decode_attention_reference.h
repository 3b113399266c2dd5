#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/support/kernel_reference.h"

// The oracle of decode_attention in float64, and how far a kernel may be from it.

namespace slice::test {

struct AttentionShape {
  int64_t heads, kv_heads, head_size, rotary_size, capacity, window, splits;
  std::vector<int32_t> positions;  // one a sequence
  bool normed = false;             // whether heads have norms
  double scale = 0, softcap = 0;

  int64_t batch() const { return static_cast<int64_t>(positions.size()); }
  int64_t row() const { return (heads + 2 * kv_heads) * head_size; }
  int64_t cache_row(int64_t b, int64_t kv, int64_t position) const {
    return ((b * kv_heads + kv) * capacity + position) * head_size;
  }
};

struct AttentionTables {
  std::vector<double> cosine, sine;  // (capacity, rotary / 2), numbers of float32
};

inline AttentionTables tables_of(const AttentionShape& s) {
  AttentionTables tables;
  for (int64_t p = 0; p < s.capacity; ++p) {
    for (int64_t i = 0; i < s.rotary_size / 2; ++i) {
      const double angle =
          static_cast<double>(p) *
          std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(s.rotary_size));
      tables.cosine.push_back(static_cast<float>(std::cos(angle)));
      tables.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return tables;
}

inline constexpr double kNormEps = 1e-5;

struct AttentionInputs {
  std::vector<double> qkv, keys, values, q_norm, k_norm;  // the last two (d)
};

/// A head's row at `offset` of qkv, normed, turned to `position`.
inline std::vector<double> turned(const AttentionShape& s, const AttentionTables& tables,
                                  const AttentionInputs& in, const std::vector<double>& norm,
                                  int64_t offset, int64_t position) {
  const auto begin = in.qkv.begin() + offset;
  std::vector<double> row(begin, begin + s.head_size);
  if (s.normed)
    row = rms_norm_reference(row, 1, s.head_size, s.head_size, s.head_size, kNormEps, norm);
  const int64_t half = s.rotary_size / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double u = row[i], v = row[half + i];
    const double c = tables.cosine[position * half + i], n = tables.sine[position * half + i];
    row[i] = u * c - v * n;
    row[half + i] = v * c + u * n;
  }
  return row;
}

struct AttentionOutputs {
  std::vector<double> out, keys, values;
};

/// softmax(cap(scale · q Kᵀ)) V of every head, by the rows that the caches hold now.
inline std::vector<double> attention_reference(const AttentionShape& s, const AttentionInputs& in,
                                               const AttentionOutputs& cache) {
  const AttentionTables tables = tables_of(s);
  std::vector<double> out(static_cast<size_t>(s.batch() * s.heads * s.head_size), 0.0);
  for (int64_t b = 0; b < s.batch(); ++b) {
    const int64_t end = s.positions[b] + 1;
    const int64_t begin = s.window > 0 ? std::max<int64_t>(0, end - s.window) : 0;
    for (int64_t h = 0; h < s.heads; ++h) {
      const auto q =
          turned(s, tables, in, in.q_norm, b * s.row() + h * s.head_size, s.positions[b]);
      const int64_t kv = h / (s.heads / s.kv_heads);
      std::vector<double> scores;
      for (int64_t p = begin; p < end; ++p) {
        double score = 0;
        const int64_t row = s.cache_row(b, kv, p);
        for (int64_t i = 0; i < s.head_size; ++i) score += q[i] * cache.keys[row + i];
        score *= s.scale != 0 ? s.scale : 1 / std::sqrt(static_cast<double>(s.head_size));
        scores.push_back(s.softcap > 0 ? s.softcap * std::tanh(score / s.softcap) : score);
      }
      const double most = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - most);
      for (int64_t p = begin; p < end; ++p) {
        const int64_t row = s.cache_row(b, kv, p);
        for (int64_t i = 0; i < s.head_size; ++i) {
          out[(b * s.heads + h) * s.head_size + i] +=
              scores[p - begin] / total * cache.values[row + i];
        }
      }
    }
  }
  return out;
}

/// A score is off by d + 8 roundings of products up to √d·max|q|·max|k|; a weight then by that much
/// of itself, and the sums over n positions by n + 16 roundings.
inline auto bound_for(const AttentionShape& s, const AttentionInputs& in, DataType type) {
  const double d = static_cast<double>(s.head_size), single = epsilon(DataType::kFloat32);
  // A normed row has a length of √d · max|α| at most, a coordinate of it no more than that.
  const double query = s.normed ? std::sqrt(d) * largest(in.q_norm) : 1.5 * largest(in.qkv);
  const double key = s.normed ? std::sqrt(d) * largest(in.k_norm) : 1.5 * largest(in.qkv);
  const double scale = s.scale != 0 ? s.scale : 1 / std::sqrt(d);
  const double reach = d * scale * query * std::max(key, largest(in.keys));
  // tanhf is good to 2 units in the last place of at most softcap.
  const double score = (d + 8 + (s.normed ? 16 : 0)) * single * reach + 8 * single * s.softcap;
  const double n = static_cast<double>(*std::max_element(s.positions.begin(), s.positions.end()));
  const double sum =
      (2 * score + (n + 16) * single) * std::max(largest(in.values), largest(in.qkv));
  return [=](double y) { return epsilon(type) * std::abs(y) + sum + smallest_step(type); };
}

inline AttentionInputs inputs_of(const AttentionShape& s, DataType type, uint64_t seed) {
  const int64_t cache = s.batch() * s.kv_heads * s.capacity * s.head_size;
  return {rounded(random_values(s.batch() * s.row(), 2.0, seed), type),
          rounded(random_values(cache, 2.0, seed + 1), type),
          rounded(random_values(cache, 2.0, seed + 2), type),
          rounded(random_values(s.head_size, 1.0, seed + 3), type),
          rounded(random_values(s.head_size, 1.0, seed + 4), type)};
}

}  // namespace slice::test
