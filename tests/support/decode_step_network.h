#pragma once

#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <deque>
#include <random>
#include <vector>

#include "cuda/decode_step.h"
#include "tests/support/decode_attention_reference.h"
#include "tests/support/decode_linear_reference.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

// The list of a small decoder's step for decode_step, and its oracle.

namespace slice::test {

using kernels::DecodeAttention;
using kernels::DecodeLinear;
using kernels::DecodeNorm;
using kernels::DecodeOperation;

inline constexpr double kNormEpsilon = 1e-5;

/// What is beside a sublayer.
enum class Skip { kIdentity, kDiagonal, kDense, kLowRank };

/// The norm before readers: RMSNorm as they have it, with α or without, or a LayerNorm with β or
/// without either.
enum class NormForm { kRms, kRmsBare, kLayer, kLayerBare };

struct DecodeStepShape {
  DataType type = DataType::kFloat16;
  // Two columns a multiprocessor or more, the rank of a low-rank skip apart.
  int64_t hidden = 272, heads = 3, kv_heads = 1, head_size = 64, ffn = 272, vocabulary = 274;
  int64_t layers = 2, position = 5, capacity = 40, window = 0, splits = 1, rank = 272;
  Skip skip = Skip::kIdentity;
  Epilogue epilogue = Epilogue::kGatedSilu;
  NormForm norm = NormForm::kRms;
  bool bias = false, normed_heads = false;
  bool parallel = false;  // both readers first, and attention's writer last
  double softcap = 0;
};

/// The list of a small decoder's step, with every operation's inputs and output in memory of their own:
/// each is checked by what it was given.
class DecodeStepNetwork {
 public:
  explicit DecodeStepNetwork(const DecodeStepShape& network) : n_(network) {
    AttentionShape s;
    s.heads = n_.heads;
    s.kv_heads = n_.kv_heads;
    s.head_size = n_.head_size;
    s.rotary_size = n_.head_size / 4 * 2;
    s.capacity = n_.capacity;
    s.window = n_.window;
    s.splits = n_.splits;
    s.positions = {static_cast<int32_t>(n_.position)};
    s.normed = n_.normed_heads;
    s.softcap = n_.softcap;
    shape_ = s;
    const AttentionTables tables = tables_of(s);
    cosine_ = &buffers_.emplace_back(upload(tables.cosine, DataType::kFloat32));
    sine_ = &buffers_.emplace_back(upload(tables.sine, DataType::kFloat32));
    positions_ = &buffers_.emplace_back(DeviceBuffer(4));
    positions_->write(s.positions.data());

    const DeviceBuffer* x = &place(rounded(random_values(n_.hidden, 2.0, 1), n_.type));
    int64_t width = n_.hidden;
    for (int64_t layer = 0; layer < n_.layers; ++layer) {
      const int64_t row = shape_.row(), wide = width + 8;  // streams of several widths
      const int64_t rows = kernels::is_gated(n_.epilogue) ? 2 * n_.ffn : n_.ffn;
      const int64_t attended = n_.heads * n_.head_size;
      const DeviceBuffer* qkv = add(row, *x, width, nullptr, 0, Epilogue::kNone, true);
      if (n_.parallel) {
        const DeviceBuffer* h = add(rows, *x, width, nullptr, 0, n_.epilogue, true);
        const DeviceBuffer* heads = attend(*qkv);
        const DeviceBuffer* y = add(wide, *h, n_.ffn, x, width, Epilogue::kNone, false);
        x = add(wide, *heads, attended, y, wide, Epilogue::kNone, false);
        width = wide;
        continue;
      }
      const DeviceBuffer* heads = attend(*qkv);
      const DeviceBuffer* y = add(wide, *heads, attended, x, width, Epilogue::kNone, false);
      const DeviceBuffer* h = add(rows, *y, wide, nullptr, 0, n_.epilogue, true);
      x = add(width, *h, n_.ffn, y, wide, Epilogue::kNone, false);
    }
    add(n_.vocabulary, *x, width, nullptr, 0, Epilogue::kNone, true);
  }

  const std::vector<DecodeOperation>& operations() const { return operations_; }

  void check() const {
    for (const Product& product : products_) {
      DecodeLinearProblem p = product.problem;
      p.X = download(*product.X, n_.type);
      if (product.is_centred) take_norm(product, p);
      if (product.R != nullptr) p.R = download(*product.R, n_.type);
      if (product.Z != nullptr) p.Z = download(*product.Z, n_.type);
      const std::vector<double> Y = download(*product.Y, n_.type);
      std::vector<double> actual, expected, bounds;
      std::mt19937_64 generator(9);
      const auto columns = static_cast<uint64_t>(p.columns());
      for (uint64_t i = 0; i < std::min<uint64_t>(columns, 600); ++i) {
        const auto column = static_cast<int64_t>(columns <= 600 ? i : generator() % columns);
        const DecodeLinearEntry entry = decode_linear_entry(p, 0, column);
        actual.push_back(Y[column]);
        expected.push_back(entry.value);
        bounds.push_back(entry.bound);
      }
      INFO("product N " << p.N << " K " << p.K << " K2 " << p.K2);
      check_within(actual, expected, bounds);
    }
    for (const Attended& attended : attended_) {
      AttentionInputs in = attended.before;
      in.qkv = download(*attended.qkv, n_.type);
      const AttentionOutputs got{download(*attended.out, n_.type),
                                 download(*attended.keys, n_.type),
                                 download(*attended.values, n_.type)};
      check_within(got.out, attention_reference(shape_, in, got), bound_for(shape_, in, n_.type));
      const int64_t to = shape_.cache_row(0, 0, n_.position);
      const int64_t from = (n_.heads + n_.kv_heads) * n_.head_size;
      for (int64_t i = 0; i < n_.head_size; ++i) CHECK(got.values[to + i] == in.qkv[from + i]);
    }
  }

  /// All that it writes.
  std::vector<std::vector<double>> outputs() const {
    std::vector<std::vector<double>> all;
    for (const Product& product : products_) all.push_back(download(*product.Y, n_.type));
    for (const Attended& attended : attended_) {
      for (const DeviceBuffer* any : {attended.out, attended.keys, attended.values})
        all.push_back(download(*any, n_.type));
    }
    return all;
  }

 private:
  struct Product {
    DecodeLinearProblem problem;
    const DeviceBuffer *X, *R, *Z, *Y;
    bool is_centred;
    std::vector<double> alpha, beta;  // of its LayerNorm
  };
  struct Attended {
    AttentionInputs before;
    const DeviceBuffer *qkv, *keys, *values, *out;
  };

  /// The LayerNorm of p.X.
  static void take_norm(const Product& product, DecodeLinearProblem& p) {
    const auto count = static_cast<double>(p.K);
    double mean = 0, variance = 0;
    for (const double x : p.X) mean += x / count;
    for (const double x : p.X) variance += (x - mean) * (x - mean) / count;
    const double scale = 1 / std::sqrt(variance + kNormEpsilon);
    const double alpha = product.alpha.empty() ? 1 : largest(product.alpha);
    const double beta = product.beta.empty() ? 0 : largest(product.beta);
    // A sum of so many terms, three times: mean, variance, and what they make of x.
    p.x_error = 6 * (count / 32 + 32) * accumulator_epsilon(p.type) *
                (2 * largest(p.X) * scale * alpha + beta);
    for (size_t i = 0; i < p.X.size(); ++i) {
      p.X[i] = (p.X[i] - mean) * scale;
      if (!product.alpha.empty()) p.X[i] *= product.alpha[i];
      if (!product.beta.empty()) p.X[i] += product.beta[i];
    }
  }

  const DeviceBuffer& place(const std::vector<double>& values) {
    return buffers_.emplace_back(upload(values, n_.type));
  }
  std::vector<double> numbers(int64_t count, double scale) {
    return rounded(random_values(count, scale, ++seed_), n_.type);
  }

  /// Y (N or N / 2) of X (K), beside a skip of `stream` (k).
  const DeviceBuffer* add(int64_t N, const DeviceBuffer& X, int64_t K, const DeviceBuffer* stream,
                          int64_t k, Epilogue epilogue, bool norm) {
    DecodeLinearProblem p;
    p.type = n_.type;
    p.M = 1;
    p.N = N;
    p.K = p.x_stride = K;
    p.epilogue = epilogue;
    p.W = numbers(N * K, 2 / std::sqrt(static_cast<double>(K)));
    if (n_.bias) p.bias = numbers(N, 1.0);
    const bool centred = norm && (n_.norm == NormForm::kLayer || n_.norm == NormForm::kLayerBare);
    std::vector<double> alpha, beta;
    if (centred && n_.norm == NormForm::kLayer) {
      alpha = numbers(K, 1.5);
      beta = numbers(K, 0.5);
    } else if (norm && !centred) {
      p.norm_hidden = K;
      p.eps = kNormEpsilon;
      if (n_.norm == NormForm::kRms) p.norm_weight = numbers(K, 1.5);
    }
    const DeviceBuffer *R = nullptr, *Z = nullptr;
    if (stream != nullptr && n_.skip == Skip::kLowRank) {
      Z = add(n_.rank, *stream, k, nullptr, 0, Epilogue::kNone, false);
      p.K2 = p.z_stride = n_.rank;
    } else if (stream != nullptr && n_.skip == Skip::kDense) {
      Z = stream;
      p.K2 = p.z_stride = k;
    }
    if (p.K2 > 0) p.V = numbers(N * p.K2, 0.1);
    if (stream != nullptr && n_.skip != Skip::kDense) {
      R = stream;
      p.residual_columns = p.r_stride = std::min(k, N);
      if (n_.skip == Skip::kDiagonal) p.diagonal = numbers(p.residual_columns, 1.0);
    }
    const DeviceBuffer& Y = buffers_.emplace_back(DeviceBuffer(p.columns() * 2));
    const auto device = [&](const std::vector<double>& values) -> const void* {
      return values.empty() ? nullptr : place(values).data();
    };
    const void* read = X.data();
    if (centred) {
      DecodeNorm operation;
      operation.Y = buffers_.emplace_back(DeviceBuffer(K * 2)).data();
      operation.X = X.data();
      operation.weight = device(alpha);
      operation.bias = device(beta);
      operation.type = n_.type;
      operation.columns = K;
      operation.eps = kNormEpsilon;
      operations_.push_back(operation);
      read = operation.Y;
    }
    DecodeLinear l;
    l.Y = Y.data();
    l.X = read;
    l.W = device(p.W);
    l.Z = Z == nullptr ? nullptr : Z->data();
    l.V = device(p.V);
    l.bias = device(p.bias);
    l.R = R == nullptr ? nullptr : R->data();
    l.diagonal = device(p.diagonal);
    l.norm_weight = device(p.norm_weight);
    l.norm_hidden = p.norm_hidden;
    l.eps = p.eps;
    l.epilogue = p.epilogue;
    l.type = n_.type;
    l.M = 1;
    l.N = p.N;
    l.K = l.x_row_stride = p.K;
    l.K2 = l.z_row_stride = p.K2;
    l.residual_columns = l.r_row_stride = p.residual_columns;
    l.y_row_stride = p.columns();
    operations_.push_back(l);
    products_.push_back({p, &X, R, Z, &Y, centred, alpha, beta});
    return &Y;
  }

  const DeviceBuffer* attend(const DeviceBuffer& qkv) {
    AttentionInputs before = inputs_of(shape_, n_.type, ++seed_);
    const DeviceBuffer &keys = place(before.keys), &values = place(before.values);
    const DeviceBuffer& out = buffers_.emplace_back(DeviceBuffer(n_.heads * n_.head_size * 2));
    DecodeAttention a;
    a.out = out.data();
    a.qkv = qkv.data();
    a.keys = keys.data();
    a.values = values.data();
    a.positions = positions_->as<int32_t>();
    a.cosine = cosine_->as<float>();
    a.sine = sine_->as<float>();
    a.type = n_.type;
    a.batch = 1;
    a.heads = n_.heads;
    a.kv_heads = n_.kv_heads;
    a.head_size = n_.head_size;
    a.capacity = n_.capacity;
    a.rotary_size = shape_.rotary_size;
    a.window = n_.window;
    a.splits = n_.splits;
    a.softcap = n_.softcap;
    if (n_.normed_heads) {
      a.q_norm = place(before.q_norm).data();
      a.k_norm = place(before.k_norm).data();
      a.norm_eps = kNormEps;
    }
    DeviceBuffer& workspace = buffers_.emplace_back(
        DeviceBuffer(static_cast<int64_t>(kernels::decode_attention_workspace_bytes(a))));
    workspace.fill(0);
    a.workspace = workspace.data();
    operations_.push_back(a);
    attended_.push_back({before, &qkv, &keys, &values, &out});
    return &out;
  }

  DecodeStepShape n_;
  AttentionShape shape_;
  std::deque<DeviceBuffer> buffers_;  // places stay
  DeviceBuffer *cosine_, *sine_, *positions_;
  std::vector<DecodeOperation> operations_;
  std::vector<Product> products_;
  std::vector<Attended> attended_;
  uint64_t seed_ = 100;
};

}  // namespace slice::test
