#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/decode_linear.h"
#include "cuda/detail/capability.h"
#include "cuda/rms_norm.h"
#include "tests/support/decode_linear_reference.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::decode_linear;
using slice::kernels::DecodeLinear;

namespace {

constexpr DataType kHalfTypes[] = {DataType::kFloat16, DataType::kBFloat16};

struct Sizes {
  int64_t M, N, K, K2;
  int64_t gap = 0;  // the excess of every row stride
};

// X, W, Z and V; the optional operands are added by `with_…`.
DecodeLinearProblem make_problem(DataType type, const Sizes& s) {
  DecodeLinearProblem p;
  p.type = type;
  p.M = s.M;
  p.N = s.N;
  p.K = s.K;
  p.K2 = s.K2;
  p.x_stride = s.K + s.gap;
  p.z_stride = s.K2 + s.gap;
  p.y_gap = s.gap;
  p.X = rounded(random_values(s.M * p.x_stride, 2.0, 1), type);
  p.W = rounded(random_values(s.N * s.K, 0.5, 2), type);
  p.Z = rounded(random_values(s.M * p.z_stride, 1.0, 3), type);
  p.V = rounded(random_values(s.N * s.K2, 1.0, 4), type);
  return p;
}

void with_bias(DecodeLinearProblem& p) { p.bias = rounded(random_values(p.N, 2.0, 5), p.type); }

void with_residual(DecodeLinearProblem& p, int64_t columns, bool diagonal) {
  p.residual_columns = columns;
  p.r_stride = columns + p.y_gap;
  p.R = rounded(random_values(p.M * p.r_stride, 4.0, 6), p.type);
  if (diagonal) p.diagonal = rounded(random_values(columns, 1.0, 7), p.type);
}

void with_norm(DecodeLinearProblem& p, bool weight) {
  p.norm_hidden = p.K + p.K / 3 + 1;  // kept columns of a larger hidden size
  p.eps = 1e-5;
  if (weight) p.norm_weight = rounded(random_values(p.K, 1.5, 8), p.type);
}

// The operands on the device, `offset` elements after an aligned place.
class Operands {
 public:
  Operands(const DecodeLinearProblem& p, int64_t offset)
      : type_(p.type),
        offset_(offset),
        X_(upload(p.X, p.type, offset)),
        W_(upload(p.W, p.type, offset)),
        Z_(upload(p.Z, p.type, offset)),
        V_(upload(p.V, p.type, offset)),
        bias_(upload(p.bias, p.type, offset)),
        R_(upload(p.R, p.type, offset)),
        diagonal_(upload(p.diagonal, p.type, offset)),
        norm_weight_(upload(p.norm_weight, p.type, offset)) {
    layer_.X = place(X_, p.X);
    layer_.W = place(W_, p.W);
    layer_.Z = place(Z_, p.Z);
    layer_.V = place(V_, p.V);
    layer_.bias = place(bias_, p.bias);
    layer_.R = place(R_, p.R);
    layer_.diagonal = place(diagonal_, p.diagonal);
    layer_.norm_weight = place(norm_weight_, p.norm_weight);
    layer_.norm_hidden = p.norm_hidden;
    layer_.eps = p.eps;
    layer_.scale = p.scale;
    layer_.epilogue = p.epilogue;
    layer_.type = p.type;
    layer_.M = p.M;
    layer_.N = p.N;
    layer_.K = p.K;
    layer_.K2 = p.K2;
    layer_.residual_columns = p.residual_columns;
    layer_.x_row_stride = p.x_stride;
    layer_.y_row_stride = p.columns() + p.y_gap;
    layer_.z_row_stride = p.z_stride;
    layer_.r_row_stride = p.r_stride;
  }

  DecodeLinear into(void* Y) const {
    DecodeLinear layer = layer_;
    layer.Y = Y;
    return layer;
  }

 private:
  const void* place(const DeviceBuffer& buffer, const std::vector<double>& values) const {
    return values.empty() ? nullptr : at(buffer, offset_, type_);
  }

  DataType type_;
  int64_t offset_;
  DeviceBuffer X_, W_, Z_, V_, bias_, R_, diagonal_, norm_weight_;
  DecodeLinear layer_;
};

// Y without the gaps between its rows, which must still hold what they did.
std::vector<double> run(const DecodeLinearProblem& p, const Stream& stream, int64_t offset = 0) {
  const Operands operands(p, offset);
  const int64_t stride = p.columns() + p.y_gap;
  const Output Y(p.M * stride, p.type, offset);
  REQUIRE(decode_linear(operands.into(Y.data()), stream.get()) == cudaSuccess);
  CHECK(Y.guards_are_whole());
  const std::vector<double> all = Y.values();
  std::vector<double> values;
  bool gaps_are_whole = true;
  for (int64_t i = 0; i < p.M * stride; ++i) {
    if (i % stride < p.columns()) {
      values.push_back(all[i]);
    } else {
      gaps_are_whole = gaps_are_whole && std::isnan(all[i]);
    }
  }
  CHECK(gaps_are_whole);
  return values;
}

std::string text_of(const DecodeLinearProblem& p) {
  return std::string(name_of(p.type)) + " M " + std::to_string(p.M) + " N " + std::to_string(p.N) +
         " K " + std::to_string(p.K) + " K2 " + std::to_string(p.K2) + " epilogue " +
         std::to_string(static_cast<int>(p.epilogue)) + " R " + std::to_string(p.residual_columns) +
         (p.diagonal.empty() ? "" : " diagonal") + (p.bias.empty() ? "" : " bias") +
         (p.norm_hidden == 0      ? ""
          : p.norm_weight.empty() ? " norm"
                                  : " weighted norm") +
         " gap " + std::to_string(p.y_gap);
}

// All entries, or `samples` of them.
void check_against_oracle(const DecodeLinearProblem& p, const Stream& stream, int64_t offset = 0,
                          int64_t samples = 0) {
  INFO(text_of(p) << " offset " << offset);
  const std::vector<double> Y = run(p, stream, offset);
  const int64_t count = p.M * p.columns();
  std::mt19937_64 generator(9);
  std::vector<double> actual, expected, bounds;
  for (int64_t i = 0; i < (samples > 0 ? samples : count); ++i) {
    const int64_t index =
        samples > 0 ? static_cast<int64_t>(generator() % static_cast<uint64_t>(count)) : i;
    const DecodeLinearEntry entry =
        decode_linear_entry(p, index / p.columns(), index % p.columns());
    actual.push_back(Y[index]);
    expected.push_back(entry.value);
    bounds.push_back(entry.bound);
  }
  check_within(actual, expected, bounds);
  CHECK(std::none_of(Y.begin(), Y.end(), [](double y) { return std::isnan(y); }));
}

}  // namespace

TEST_CASE("decode_linear matches the float64 oracle", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t M : {1, 2, 7, 8, 9, 16, 29}) {
      for (const int64_t N : {1, 19, 99}) {
        for (const int64_t K : slice::shapes::kAwkwardColumns) {
          for (const int64_t K2 : {int64_t{0}, int64_t{8}, int64_t{111}}) {
            check_against_oracle(make_problem(type, {M, N, K, K2}), stream);
          }
        }
        check_against_oracle(make_problem(type, {M, N, 0, 0}), stream);
        check_against_oracle(make_problem(type, {M, N, 0, 16}), stream);
        check_against_oracle(make_problem(type, {M, N, 1, 1}), stream);
        check_against_oracle(make_problem(type, {M, N, 576, 432}), stream);
      }
    }
    check_against_oracle(make_problem(type, {3, 19, 11008, 3072}), stream);  // longer than a queue
    check_against_oracle(make_problem(type, {16, 19, 4104, 64}), stream);
  }
}

TEST_CASE("decode_linear covers W with blocks of every height", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kHalfTypes) {
    for (const int64_t M : {1, 16, 32}) {
      // On 132 multiprocessors up to 8, 16, 24 … 48 rows each, and more than those.
      for (const int64_t N : {1000, 1999, 3072, 4200, 5000, 6144, 13000, 23000, 27648, 34000}) {
        check_against_oracle(make_problem(type, {M, N, 72, 40}), stream, 0, 4000);
      }
      DecodeLinearProblem gated = make_problem(type, {M, 11008, 576, 0});
      gated.epilogue = Epilogue::kGatedSilu;
      with_norm(gated, false);
      check_against_oracle(gated, stream, 0, 2000);
    }
    check_against_oracle(make_problem(type, {5, 3001, 111, 0}), stream, 0, 4000);
  }
}

TEST_CASE("decode_linear takes every optional operand", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t M : {1, 5, 16, 32}) {
      for (const int64_t K : {int64_t{111}, int64_t{576}}) {
        for (const Epilogue epilogue :
             {Epilogue::kNone, Epilogue::kRelu, Epilogue::kRelu2, Epilogue::kGelu,
              Epilogue::kGeluTanh, Epilogue::kGatedSilu, Epilogue::kGatedGeluTanh}) {
          for (int options = 0; options < 16; ++options) {
            DecodeLinearProblem p = make_problem(type, {M, 38, K, options < 8 ? 24 : 0});
            p.epilogue = epilogue;
            if (options % 2 == 1) with_bias(p);
            if (options / 2 % 2 == 1) {
              with_residual(p, options % 2 == 1 ? p.columns() : 11, options / 4 % 2 == 1);
            }
            if (options >= 8) with_norm(p, options / 4 % 2 == 1);
            if (options % 4 == 3) p.scale = 0.22;
            check_against_oracle(p, stream);
          }
        }
      }
    }
  }
}

TEST_CASE("decode_linear matches the oracle at model sizes", "[cuda][slow][decode_linear]") {
  require_gpu();
  const Stream stream;
  constexpr int64_t kSamples = 500;
  const auto& model = slice::shapes::kModels[2];
  for (const DataType type : kHalfTypes) {
    for (const int64_t M : {1, 16}) {
      check_against_oracle(make_problem(type, {M, model.kept, model.ffn, model.kept}), stream, 0,
                           kSamples);
    }
    DecodeLinearProblem reader = make_problem(type, {2, 2 * model.ffn, model.kept, 0});
    reader.epilogue = Epilogue::kGatedSilu;
    with_norm(reader, false);
    check_against_oracle(reader, stream, 0, kSamples);
  }
}

TEST_CASE("decode_linear reads strided and unaligned views with the same bits",
          "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t M : {3, 16}) {
      for (const int64_t gap : {1, 8, 16}) {
        DecodeLinearProblem p = make_problem(type, {M, 99, 128, 72, gap});
        with_residual(p, 50, true);
        check_against_oracle(p, stream);
      }
      DecodeLinearProblem p = make_problem(type, {M, 300, 320, 72});
      with_bias(p);
      with_residual(p, 300, true);
      const auto aligned = run(p, stream);
      CHECK(run(p, stream) == aligned);
      if (M <= 8) {
        CHECK(run(p, stream, 1) == aligned);
        CHECK(run(p, stream, 3) == aligned);
      } else {  // vectors may go another way
        check_against_oracle(p, stream, 1);
        CHECK(run(p, stream, 3) == run(p, stream, 1));
      }
    }
  }
}

TEST_CASE("decode_linear gives a row the same bits in any batch", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t N : {999, 9000, 11000}) {
      for (const int64_t most : {8, 16, 32}) {
        DecodeLinearProblem many = make_problem(type, {most, N, 1000, 320});
        with_residual(many, N, false);
        const auto all = run(many, stream);
        CHECK(run(many, stream) == all);
        for (const int64_t M : {1, 4, 7, 8, 9, 13, 17, 31}) {
          if (M > most || (most > 8 && M <= most / 2)) continue;
          DecodeLinearProblem few = many;
          few.M = M;
          const auto first = run(few, stream);
          CHECK(std::equal(first.begin(), first.end(), all.begin()));
        }
      }
    }
  }
}

TEST_CASE("decode_linear runs as on older devices", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  auto& pretended = slice::kernels::detail::pretended_capability;
  for (const int shared_bytes : {163 << 10, 99 << 10}) {  // compute capability 8.0; 8.6 and 8.9
    pretended.major = 8;
    pretended.shared_bytes = shared_bytes;
    for (const DataType type : kAllTypes) {
      CHECK(slice::kernels::decode_linear_fast_rows(type) == 8);
      for (const int64_t M : {1, 8, 16, 27}) {
        for (const int64_t N : {99, 4200, 9000}) {
          DecodeLinearProblem p = make_problem(type, {M, N, 200, 40});
          with_residual(p, N, true);
          check_against_oracle(p, stream, 0, 500);
        }
        DecodeLinearProblem gated = make_problem(type, {M, 9000, 200, 0});
        gated.epilogue = Epilogue::kGatedSilu;
        with_norm(gated, true);
        check_against_oracle(gated, stream, 0, 500);
      }
    }
  }
  pretended.major = pretended.shared_bytes = 0;
}

TEST_CASE("decode_linear may write over R", "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    DecodeLinearProblem p = make_problem(type, {9, 500, 111, 16});
    with_residual(p, 500, false);
    const auto expected = run(p, stream);
    const Operands operands(p, 0);
    Output Y(p.M * p.N, type);
    Y.write(p.R);
    DecodeLinear layer = operands.into(Y.data());
    layer.R = Y.data();
    REQUIRE(decode_linear(layer, stream.get()) == cudaSuccess);
    CHECK(Y.guards_are_whole());
    CHECK(Y.values() == expected);
  }
}

TEST_CASE("a chain of decode_linear calls that start early reads what the call before wrote",
          "[cuda][decode_linear]") {
  require_gpu();
  const Stream stream;
  constexpr int kCalls = 24;
  for (const DataType type : kAllTypes) {
    const int64_t width = type == DataType::kFloat16 || type == DataType::kBFloat16 ? 3072 : 256;
    const int64_t M = 3;
    DecodeLinearProblem p = make_problem(type, {M, width, width, 0});
    p.x_stride = width;
    with_norm(p, false);
    const Operands operands(p, 0);
    const Output a(M * width, type), b(M * width, type), plain(M * width, type);
    // Writer and reader change places, and a kernel that knows nothing of early starts comes
    // between; `together` false waits for every call.
    const auto chain = [&](bool together) {
      for (int i = 0; i < kCalls; ++i) {
        DecodeLinear layer = operands.into(i % 2 == 0 ? a.data() : b.data());
        if (i > 0) layer.X = i % 2 == 0 ? b.data() : a.data();
        layer.prefetch = together;
        cudaError_t status = decode_linear(layer, stream.get());
        if (status == cudaSuccess && i % 5 == 4) {
          status = slice::kernels::rms_norm(layer.Y, layer.Y, nullptr, nullptr, type, M, width,
                                            width, width, 1e-5, stream.get());
        }
        if (status == cudaSuccess && !together) status = cudaStreamSynchronize(stream.get());
        if (status != cudaSuccess) return status;
      }
      return cudaSuccess;
    };
    REQUIRE(chain(false) == cudaSuccess);
    const auto expected = b.values();
    CHECK(std::none_of(expected.begin(), expected.end(), [](double y) { return std::isnan(y); }));
    for (int repeat = 0; repeat < 5; ++repeat) {
      REQUIRE(chain(true) == cudaSuccess);
      CHECK(b.values() == expected);
      run_captured(stream, [&] { return chain(true); });
      CHECK(b.values() == expected);
    }
  }
}

TEST_CASE("decode_linear refuses bad arguments and accepts empty ones", "[decode_linear]") {
  alignas(16) static float m[1024];  // never touched: the checks come first
  DecodeLinear good;
  good.type = DataType::kFloat32;
  good.Y = m;
  good.X = m + 64;
  good.W = m + 128;
  good.Z = m + 192;
  good.V = m + 256;
  good.R = m + 320;
  good.M = good.N = good.K = good.K2 = good.residual_columns = 4;
  good.x_row_stride = good.y_row_stride = good.z_row_stride = good.r_row_stride = 4;
  const auto status = [&](auto&& change) {
    DecodeLinear layer = good;
    change(layer);
    return decode_linear(layer, nullptr);
  };
  const auto refused = [&](auto&& change) { return status(change) == cudaErrorInvalidValue; };
  CHECK(status([](DecodeLinear& l) { l.M = 0; }) == cudaSuccess);
  CHECK(status([](DecodeLinear& l) { l.N = l.residual_columns = 0; }) == cudaSuccess);
  CHECK(refused([](DecodeLinear& l) { l.M = -1; }));
  CHECK(refused([](DecodeLinear& l) { l.M = 33; }));
  CHECK(refused([](DecodeLinear& l) { l.N = -1; }));
  CHECK(refused([](DecodeLinear& l) { l.K = -1; }));
  CHECK(refused([](DecodeLinear& l) { l.K2 = -1; }));
  CHECK(refused([](DecodeLinear& l) { l.residual_columns = 5; }));
  CHECK(refused([](DecodeLinear& l) { l.x_row_stride = 3; }));
  CHECK(refused([](DecodeLinear& l) { l.y_row_stride = 3; }));
  CHECK(refused([](DecodeLinear& l) { l.z_row_stride = 3; }));
  CHECK(refused([](DecodeLinear& l) { l.r_row_stride = 3; }));
  CHECK(refused([](DecodeLinear& l) { l.Y = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.X = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.W = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.Z = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.V = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.R = nullptr; }));
  CHECK(refused([](DecodeLinear& l) { l.W = reinterpret_cast<const char*>(m + 128) + 2; }));
  CHECK(refused([](DecodeLinear& l) { l.Y = m + 72; }));       // over X
  CHECK(refused([](DecodeLinear& l) { l.Y = m + 130; }));      // over W
  CHECK(refused([](DecodeLinear& l) { l.Y = m + 196; }));      // over Z
  CHECK(refused([](DecodeLinear& l) { l.Y = m + 260; }));      // over V
  CHECK(refused([](DecodeLinear& l) { l.Y = m + 321; }));      // half over R
  CHECK(refused([](DecodeLinear& l) { l.norm_hidden = 4; }));  // a norm and Z
  CHECK(refused([](DecodeLinear& l) {
    l.K2 = 0;
    l.norm_weight = m + 400;  // of no norm
  }));
  CHECK(refused([](DecodeLinear& l) {
    l.epilogue = Epilogue::kGatedSilu;
    l.N = 7;
    l.residual_columns = 3;
  }));
}
