#include <catch2/catch_test_macros.hpp>
#include <random>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/rotated_add.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::rotated_add;

namespace {

struct Problem {
  int64_t n;
  int64_t d_in;
  int64_t d_out;
  int64_t stride;  // of X's rows
  std::vector<double> X, W, R;
};

Problem make_problem(DataType type, int64_t n, int64_t d_in, int64_t d_out, int64_t stride) {
  return {n,
          d_in,
          d_out,
          stride,
          rounded(random_values(n * stride, 1.0, 1), type),
          rounded(random_values(d_in * d_out, 1.0, 2), type),
          rounded(random_values(n * d_out, 4.0, 3), type)};
}

// Each of the d_in sums and R's addition may round at the size of the largest partial sum.
auto bound_for(const Problem& p, DataType type) {
  const double terms = static_cast<double>(p.d_in) * largest(p.X) * largest(p.W) + largest(p.R);
  return [type, terms](double y) {
    return epsilon(type) * std::abs(y) + 2 * accumulator_epsilon(type) * terms +
           smallest_step(type);
  };
}

// `offset` elements in front of every operand: 1 unaligns them all.
std::vector<double> run(const Problem& p, DataType type, const Stream& stream, int64_t offset = 0) {
  const DeviceBuffer X = upload(p.X, type, offset);
  const DeviceBuffer W = upload(p.W, type, offset);
  const DeviceBuffer R = upload(p.R, type, offset);
  const Output Y(p.n * p.d_out, type, offset);
  REQUIRE(rotated_add(Y.data(), at(X, offset, type), at(W, offset, type), at(R, offset, type), type,
                      p.n, p.d_in, p.d_out, p.stride, stream.get()) == cudaSuccess);
  CHECK(Y.guards_are_whole());
  return Y.values();
}

void check_against_oracle(DataType type, int64_t n, int64_t d_in, int64_t d_out, int64_t stride,
                          const Stream& stream, int64_t offset = 0) {
  INFO(name_of(type) << " n " << n << " d_in " << d_in << " d_out " << d_out << " stride " << stride
                     << " offset " << offset);
  const Problem p = make_problem(type, n, d_in, d_out, stride);
  check_within(run(p, type, stream, offset),
               rotated_add_reference(p.X, p.W, p.R, n, d_in, d_out, stride), bound_for(p, type));
}

}  // namespace

TEST_CASE("rotated_add matches the float64 oracle", "[cuda][rotated_add]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t n : slice::shapes::kAwkwardRows) {
      for (const int64_t d_in : slice::shapes::kAwkwardColumns) {
        for (const int64_t d_out : slice::shapes::kAwkwardColumns) {
          check_against_oracle(type, n, d_in, d_out, d_in, stream);
        }
      }
      check_against_oracle(type, n, 0, 111, 0, stream);
      check_against_oracle(type, n, 111, 0, 111, stream);
      check_against_oracle(type, n, 1, 8, 1, stream);
      check_against_oracle(type, n, 8, 1, 8, stream);
      check_against_oracle(type, n, 576, 456, 576, stream);
    }
    check_against_oracle(type, 128, 64, 128, 64, stream);  // whole tiles
    check_against_oracle(type, 989, 111, 2500, 111,
                         stream);  // enough tiles for the large one, ragged
    check_against_oracle(type, 1024, 96, 2048, 96, stream);  // and whole
  }
}

TEST_CASE("rotated_add matches the oracle at model sizes", "[cuda][slow][rotated_add]") {
  require_gpu();
  const Stream stream;
  constexpr int64_t kRows = 989;
  constexpr int kSamples = 4000;
  const auto& model = slice::shapes::kModels[2];
  for (const DataType type : kAllTypes) {
    const Problem p = make_problem(type, kRows, model.kept, model.hidden, model.kept);
    const std::vector<double> Y = run(p, type, stream);
    std::mt19937_64 generator(7);
    std::vector<double> actual, expected;
    for (int i = 0; i < kSamples; ++i) {
      const auto row = static_cast<int64_t>(generator() % kRows);
      const auto column = static_cast<int64_t>(generator() % static_cast<uint64_t>(p.d_out));
      actual.push_back(Y[row * p.d_out + column]);
      expected.push_back(rotated_add_entry(p.X, p.W, p.R, row, column, p.d_in, p.d_out, p.stride));
    }
    INFO(name_of(type));
    check_within(actual, expected, bound_for(p, type));
    CHECK(std::none_of(Y.begin(), Y.end(), [](double y) { return std::isnan(y); }));
  }
}

TEST_CASE("rotated_add reads strided and unaligned views with the same bits",
          "[cuda][rotated_add]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    check_against_oracle(type, 99, 128, 72, 128 + 16, stream);
    check_against_oracle(type, 99, 128, 72, 128 + 1, stream);
    check_against_oracle(type, 99, 111, 72, 128, stream);
    const Problem p = make_problem(type, 99, 128, 72, 128);
    CHECK(run(p, type, stream, 1) == run(p, type, stream, 0));
  }
}

TEST_CASE("rotated_add gives a row the same bits in any batch", "[cuda][rotated_add]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    const Problem many = make_problem(type, 989, 504, 2048, 504);  // large tiles
    Problem few = many;                                            // small ones
    few.n = 19;
    few.X.resize(static_cast<size_t>(few.n * few.stride));
    few.R.resize(static_cast<size_t>(few.n * few.d_out));
    const auto all = run(many, type, stream);
    const auto first = run(few, type, stream);
    CHECK(std::equal(first.begin(), first.end(), all.begin()));
  }
}

TEST_CASE("rotated_add may write over R", "[cuda][rotated_add]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    for (const int64_t d_out : {int64_t{111}, int64_t{500}, int64_t{512}}) {
      const Problem p = make_problem(type, 99, 111, d_out, 111);
      const DeviceBuffer X = upload(p.X, type);
      const DeviceBuffer W = upload(p.W, type);
      Output Y(p.n * d_out, type);
      Y.write(p.R);
      REQUIRE(rotated_add(Y.data(), X.data(), W.data(), Y.data(), type, p.n, p.d_in, d_out,
                          p.stride, stream.get()) == cudaSuccess);
      CHECK(Y.guards_are_whole());
      CHECK(Y.values() == run(p, type, stream));
    }
  }
}

TEST_CASE("rotated_add runs on the stream it is given, without waiting", "[cuda][rotated_add]") {
  require_gpu();
  const Stream stream;
  for (const DataType type : kAllTypes) {
    const Problem p = make_problem(type, 99, 500, 111, 500);
    const DeviceBuffer X = upload(p.X, type);
    const DeviceBuffer W = upload(p.W, type);
    const DeviceBuffer R = upload(p.R, type);
    const Output Y(p.n * p.d_out, type);
    const auto expected = run(p, type, stream);  // loads the kernel, which a capture may not
    run_captured(stream, [&] {
      return rotated_add(Y.data(), X.data(), W.data(), R.data(), type, p.n, p.d_in, p.d_out,
                         p.stride, stream.get());
    });
    CHECK(Y.values() == expected);
  }
}

TEST_CASE("rotated_add refuses bad arguments and accepts empty ones", "[rotated_add]") {
  alignas(16) float m[256] = {};  // never touched: the checks come first
  const auto call = [&](void* Y, const void* X, const void* W, const void* R, int64_t n,
                        int64_t d_in, int64_t d_out, int64_t stride) {
    return rotated_add(Y, X, W, R, DataType::kFloat32, n, d_in, d_out, stride, nullptr);
  };
  CHECK(call(nullptr, nullptr, nullptr, nullptr, 0, 4, 4, 4) == cudaSuccess);
  CHECK(call(nullptr, nullptr, nullptr, nullptr, 4, 4, 0, 4) == cudaSuccess);
  CHECK(call(m, m + 64, m + 128, m + 192, -1, 4, 4, 4) == cudaErrorInvalidValue);
  CHECK(call(m, m + 64, m + 128, m + 192, 4, 4, 4, 3) == cudaErrorInvalidValue);
  CHECK(call(nullptr, m + 64, m + 128, m + 192, 4, 4, 4, 4) == cudaErrorInvalidValue);
  CHECK(call(m, nullptr, m + 128, m + 192, 4, 4, 4, 4) == cudaErrorInvalidValue);
  CHECK(call(m, m + 8, m + 128, m + 192, 4, 4, 4, 4) == cudaErrorInvalidValue);  // Y over X
  CHECK(call(m, m + 64, m, m + 192, 4, 4, 4, 4) == cudaErrorInvalidValue);       // Y is W
  CHECK(call(m, m + 64, m + 128, m + 8, 4, 4, 4, 4) == cudaErrorInvalidValue);   // half over R
  CHECK(call(m, m + 64, m + 128, reinterpret_cast<char*>(m + 192) + 2, 4, 4, 4, 4) ==
        cudaErrorInvalidValue);
}
