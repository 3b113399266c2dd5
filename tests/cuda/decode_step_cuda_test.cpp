#include <catch2/catch_test_macros.hpp>
#include <deque>
#include <random>
#include <vector>

#include "cuda/decode_step.h"
#include "cuda/detail/capability.h"
#include "tests/support/decode_attention_reference.h"
#include "tests/support/decode_linear_reference.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::DecodeAttention;
using slice::kernels::DecodeLinear;
using slice::kernels::DecodeOperation;

namespace {

enum class Skip { kIdentity, kDiagonal, kDense, kLowRank };

struct Network {
  DataType type = DataType::kFloat16;
  // Two columns a multiprocessor or more.
  int64_t hidden = 272, heads = 3, kv_heads = 1, head_size = 64, ffn = 272, vocabulary = 274;
  int64_t layers = 2, position = 5, capacity = 40, window = 0, splits = 1;
  Skip skip = Skip::kIdentity;
  Epilogue epilogue = Epilogue::kGatedSilu;
  bool bias = false, norm_weight = true, normed_heads = false;
  double softcap = 0;
};

/// The list of a small decoder's step, with every operation's inputs and output in memory of their own:
/// each is checked by what it was given.
class Step {
 public:
  explicit Step(const Network& network) : n_(network) {
    AttentionShape s;
    s.heads = n_.heads;
    s.kv_heads = n_.kv_heads;
    s.head_size = n_.head_size;
    s.rotary_size = n_.head_size / 2;
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
      const DeviceBuffer* qkv = add(row, *x, width, nullptr, 0, Epilogue::kNone, true);
      const DeviceBuffer* heads = attend(*qkv);
      const DeviceBuffer* y =
          add(wide, *heads, n_.heads * n_.head_size, x, width, Epilogue::kNone, false);
      const int64_t rows = slice::kernels::is_gated(n_.epilogue) ? 2 * n_.ffn : n_.ffn;
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
  };
  struct Attended {
    AttentionInputs before;
    const DeviceBuffer *qkv, *keys, *values, *out;
  };

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
    if (norm) {
      p.norm_hidden = K;
      p.eps = 1e-5;
      if (n_.norm_weight) p.norm_weight = numbers(K, 1.5);
    }
    const DeviceBuffer *R = nullptr, *Z = nullptr;
    if (stream != nullptr && n_.skip == Skip::kLowRank) {
      constexpr int64_t kRank = 272;
      Z = add(kRank, *stream, k, nullptr, 0, Epilogue::kNone, false);
      p.K2 = p.z_stride = kRank;
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
    DecodeLinear l;
    l.Y = Y.data();
    l.X = X.data();
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
    products_.push_back({p, &X, R, Z, &Y});
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
        DeviceBuffer(static_cast<int64_t>(slice::kernels::decode_attention_workspace_bytes(a))));
    workspace.fill(0);
    a.workspace = workspace.data();
    operations_.push_back(a);
    attended_.push_back({before, &qkv, &keys, &values, &out});
    return &out;
  }

  Network n_;
  AttentionShape shape_;
  std::deque<DeviceBuffer> buffers_;  // places stay
  DeviceBuffer *cosine_, *sine_, *positions_;
  std::vector<DecodeOperation> operations_;
  std::vector<Product> products_;
  std::vector<Attended> attended_;
  uint64_t seed_ = 100;
};

void run(const Step& step, const Stream& stream, int times) {
  REQUIRE(decode_step_runs(step.operations()));
  const DeviceBuffer workspace(
      static_cast<int64_t>(decode_step_workspace_bytes(step.operations())));
  REQUIRE(prepare_decode_step(step.operations(), workspace.data()) == cudaSuccess);
  for (int i = 0; i < times; ++i) {
    REQUIRE(decode_step(step.operations(), workspace.data(), stream.get()) == cudaSuccess);
  }
  check_cuda(cudaStreamSynchronize(stream.get()), "decode_step");
}

void check_network(const Network& network, const Stream& stream) {
  INFO(name_of(network.type) << " hidden " << network.hidden << " heads " << network.heads << "/"
                             << network.kv_heads << " of " << network.head_size << " ffn "
                             << network.ffn << " position " << network.position << " window "
                             << network.window << " splits " << network.splits << " skip "
                             << static_cast<int>(network.skip));
  const Step step(network);
  run(step, stream, 1);
  step.check();
}

constexpr DataType kHalfTypes[] = {DataType::kFloat16, DataType::kBFloat16};

}  // namespace

TEST_CASE("decode_step matches the float64 oracles", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const Skip skip : {Skip::kIdentity, Skip::kDiagonal, Skip::kDense, Skip::kLowRank}) {
      for (const int64_t d : {64, 128}) {
        Network n;
        n.type = type;
        n.skip = skip;
        n.head_size = d;
        check_network(n, stream);
        n.hidden = 1048;  // a chunk and a little
        n.ffn = 1032;
        n.vocabulary = 602;
        n.bias = true;
        n.norm_weight = false;
        n.normed_heads = true;
        n.epilogue = Epilogue::kRelu;
        check_network(n, stream);
        n.layers = 1;
        n.heads = 6;
        n.kv_heads = 2;
        n.epilogue = Epilogue::kGatedGeluTanh;
        n.softcap = 1.5;
        check_network(n, stream);
      }
    }
  }
}

TEST_CASE("decode_step attends at every position", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const int64_t d : {64, 128}) {
      for (const int64_t position : {0, 1, 31, 32, 63, 64, 65, 255, 256, 257, 1000, 1999}) {
        for (const int64_t window : {0, 300}) {
          Network n;
          n.type = type;
          n.head_size = d;
          n.position = position;
          n.capacity = position + 3;
          n.window = window;
          n.splits = 8;
          n.layers = 1;
          check_network(n, stream);
        }
      }
    }
  }
}

TEST_CASE("decode_step repeats bit by bit, in a captured graph too", "[cuda][decode_step]") {
  require_gpu();
  const Stream stream;
  Network n;
  n.hidden = 576;
  n.heads = 9;
  n.kv_heads = 3;
  n.ffn = 1536;
  n.layers = 6;
  n.position = 700;
  n.capacity = 1000;
  n.splits = 4;
  const Step step(n);
  run(step, stream, 1);
  const auto once = step.outputs();
  run(step, stream, 200);
  CHECK(step.outputs() == once);

  const DeviceBuffer workspace(
      static_cast<int64_t>(decode_step_workspace_bytes(step.operations())));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  check_cuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "begin");
  REQUIRE(prepare_decode_step(step.operations(), workspace.data()) == cudaSuccess);
  REQUIRE(decode_step(step.operations(), workspace.data(), stream.get()) == cudaSuccess);
  check_cuda(cudaStreamEndCapture(stream.get(), &graph), "end");
  check_cuda(cudaGraphInstantiate(&replay, graph, 0), "instantiate");
  for (int i = 0; i < 50; ++i) check_cuda(cudaGraphLaunch(replay, stream.get()), "launch");
  check_cuda(cudaStreamSynchronize(stream.get()), "replay");
  CHECK(step.outputs() == once);
  cudaGraphExecDestroy(replay);
  cudaGraphDestroy(graph);
}

TEST_CASE("decode_step runs no list that it cannot", "[cuda][decode_step]") {
  require_gpu();
  const Step step(Network{});
  const auto runs_with = [&](auto&& change) {
    std::vector<DecodeOperation> operations = step.operations();
    change(operations);
    return decode_step_runs(operations);
  };
  const auto linear = [](std::vector<DecodeOperation>& operations, size_t i) -> DecodeLinear& {
    return std::get<DecodeLinear>(operations[i]);
  };
  REQUIRE(runs_with([](auto&) {}));
  CHECK_FALSE(runs_with([](auto& o) { o.clear(); }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).M = 2; }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).type = DataType::kFloat32; }));
  CHECK_FALSE(runs_with([&](auto& o) { linear(o, 0).K -= 4; }));
  CHECK_FALSE(
      runs_with([&](auto& o) { o.back() = linear(o, 0), linear(o, o.size() - 1).N = 129; }));
  CHECK_FALSE(runs_with([](auto& o) { o.erase(o.begin()); }));  // whose qkv is plain
  CHECK_FALSE(runs_with([](auto& o) { std::get<DecodeAttention>(o[1]).head_size = 80; }));
  CHECK_FALSE(runs_with([&](auto& o) {  // a part of what an operation made
    linear(o, 3).X = static_cast<const char*>(linear(o, 3).X) + 16;
  }));
  slice::kernels::detail::pretended_capability.major = 8;
  CHECK_FALSE(runs_with([](auto&) {}));
  slice::kernels::detail::pretended_capability.major = 0;
  std::vector<DecodeOperation> wrong = step.operations();
  linear(wrong, 0).M = 2;
  const DeviceBuffer workspace(256);
  CHECK(prepare_decode_step(wrong, workspace.data()) == cudaErrorInvalidValue);
}
