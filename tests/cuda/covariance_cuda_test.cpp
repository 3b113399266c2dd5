#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/covariance.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::accumulate_covariance;
using slice::kernels::covariance_workspace_bytes;
using slice::kernels::kCovarianceBlockTokens;
using slice::kernels::mirror_covariance;

namespace {

// A handle set up as LibTorch's: the caller's stream, its own workspace.
class Cublas {
 public:
  explicit Cublas(const Stream& stream) : workspace_(32 << 20) {
    if (cublasCreate(&handle_) != CUBLAS_STATUS_SUCCESS) throw std::runtime_error("cublasCreate");
    cublasSetStream(handle_, stream.get());
    cublasSetWorkspace(handle_, workspace_.data(), static_cast<size_t>(workspace_.bytes()));
  }
  ~Cublas() { cublasDestroy(handle_); }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  cublasHandle_t get() const { return handle_; }

 private:
  DeviceBuffer workspace_;
  cublasHandle_t handle_ = nullptr;
};

// The stream `z`, handed over in calls of the given lengths (their sum is the number of tokens).
std::vector<double> run(const std::vector<double>& z, DataType type, int64_t d, int64_t stride,
                        const std::vector<int64_t>& calls, const Stream& stream,
                        const Cublas& cublas, int64_t offset = 0) {
  const DeviceBuffer input = upload(z, type, offset);
  DeviceBuffer workspace(static_cast<int64_t>(covariance_workspace_bytes(type, d)));
  workspace.fill(0xff);
  Output C(d * d, DataType::kFloat64);
  C.write(std::vector<double>(static_cast<size_t>(d * d), 0.0));
  int64_t first = 0;
  for (const int64_t tokens : calls) {
    REQUIRE(accumulate_covariance(static_cast<double*>(C.data()),
                                  at(input, offset + first * stride, type), type, first, tokens, d,
                                  stride, workspace.data(), static_cast<size_t>(workspace.bytes()),
                                  cublas.get()) == CUBLAS_STATUS_SUCCESS);
    first += tokens;
  }
  REQUIRE(mirror_covariance(static_cast<double*>(C.data()), d, stream.get()) == cudaSuccess);
  CHECK(C.guards_are_whole());
  return C.values();
}

// What rounding can do to a sum of n products, in whatever order it runs: n·eps·Σ|zᵢzⱼ|, entry by
// entry. float32 sums within a block for the half types, float64 for the rest: a TF32 product would
// be far outside.
double rounding(DataType type, int64_t tokens) {
  const int64_t n = std::min(tokens, kCovarianceBlockTokens);
  return static_cast<double>(n) *
         epsilon(size_of(type) == 2 ? DataType::kFloat32 : DataType::kFloat64);
}

std::vector<double> magnitudes(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

void check_against_oracle(DataType type, int64_t tokens, int64_t d, int64_t stride,
                          const Stream& stream, const Cublas& cublas, int64_t offset = 0) {
  INFO(name_of(type) << " tokens " << tokens << " d " << d << " stride " << stride << " offset "
                     << offset);
  const auto z = rounded(random_values(tokens * stride, 2.0, 1), type);
  std::vector<double> bounds = covariance_reference(magnitudes(z), tokens, d, stride);
  for (double& bound : bounds) bound *= rounding(type, tokens);
  check_within(run(z, type, d, stride, {tokens}, stream, cublas, offset),
               covariance_reference(z, tokens, d, stride), bounds);
}

}  // namespace

TEST_CASE("covariance matches the float64 oracle", "[cuda][covariance]") {
  require_gpu();
  const Stream stream;
  const Cublas cublas(stream);
  for (const DataType type : kAllTypes) {
    for (const int64_t tokens : slice::shapes::kAwkwardRows) {
      for (const int64_t d : slice::shapes::kAwkwardColumns) {
        check_against_oracle(type, tokens, d, d, stream, cublas);
      }
      check_against_oracle(type, tokens, 1, 1, stream, cublas);
    }
    check_against_oracle(type, kCovarianceBlockTokens + 99, 111, 111, stream, cublas);
    check_against_oracle(type, 99, 2100, 2100, stream,
                         cublas);                               // three panels, the last one ragged
    check_against_oracle(type, 989, 111, 128, stream, cublas);  // strided
    check_against_oracle(type, 989, 111, 112, stream, cublas, 1);
  }
}

TEST_CASE("covariance matches the oracle at model sizes", "[cuda][slow][covariance]") {
  require_gpu();
  const Stream stream;
  const Cublas cublas(stream);
  const int64_t d = slice::shapes::kModels[2].hidden;
  const int64_t tokens = kCovarianceBlockTokens;
  for (const DataType type : kAllTypes) {
    const auto z = rounded(random_values(tokens * d, 2.0, 5), type);
    const auto C = run(z, type, d, d, {tokens}, stream, cublas);
    std::mt19937_64 generator(11);
    std::vector<double> actual, expected, bounds;
    for (int sample = 0; sample < 500; ++sample) {
      const auto i = static_cast<int64_t>(generator() % static_cast<uint64_t>(d));
      const auto j =
          sample % 8 == 0 ? i : static_cast<int64_t>(generator() % static_cast<uint64_t>(d));
      double sum = 0, magnitude = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        sum += z[t * d + i] * z[t * d + j];
        magnitude += std::abs(z[t * d + i] * z[t * d + j]);
      }
      actual.push_back(C[i * d + j]);
      expected.push_back(sum);
      bounds.push_back(magnitude * rounding(type, tokens));
    }
    INFO(name_of(type));
    check_within(actual, expected, bounds);
  }
}

TEST_CASE("covariance has the same bits however the stream is cut", "[cuda][covariance]") {
  require_gpu();
  const Stream stream;
  const Cublas cublas(stream);
  constexpr int64_t kBlock = kCovarianceBlockTokens;
  constexpr int64_t kColumns = 200;
  constexpr int64_t kTokens = 3 * kBlock + 99;
  for (const DataType type : kAllTypes) {
    INFO(name_of(type));
    const auto z = rounded(random_values(kTokens * kColumns, 2.0, 6), type);
    const auto whole = run(z, type, kColumns, kColumns, {kTokens}, stream, cublas);
    CHECK(whole == run(z, type, kColumns, kColumns, {kTokens}, stream, cublas));
    CHECK(whole == run(z, type, kColumns, kColumns, {kBlock, 2 * kBlock, 0, 99}, stream, cublas));
    CHECK(whole == run(z, type, kColumns, kColumns, {2 * kBlock, kBlock + 99}, stream, cublas));
    bool symmetric = true;
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < i; ++j) {
        symmetric = symmetric && whole[i * kColumns + j] == whole[j * kColumns + i];
      }
    }
    CHECK(symmetric);
  }
}

TEST_CASE("covariance ignores the modes of the handle and puts them back", "[cuda][covariance]") {
  require_gpu();
  const Stream stream;
  const Cublas cublas(stream);
  for (const DataType type : kAllTypes) {
    const auto z = rounded(random_values(989 * 111, 2.0, 7), type);
    const auto plain = run(z, type, 111, 111, {989}, stream, cublas);
    cublasSetMathMode(cublas.get(), CUBLAS_TF32_TENSOR_OP_MATH);
    cublasSetPointerMode(cublas.get(), CUBLAS_POINTER_MODE_DEVICE);
    CHECK(plain == run(z, type, 111, 111, {989}, stream, cublas));
    cublasMath_t math = CUBLAS_DEFAULT_MATH;
    cublasPointerMode_t pointer = CUBLAS_POINTER_MODE_HOST;
    cublasGetMathMode(cublas.get(), &math);
    cublasGetPointerMode(cublas.get(), &pointer);
    CHECK(math == CUBLAS_TF32_TENSOR_OP_MATH);
    CHECK(pointer == CUBLAS_POINTER_MODE_DEVICE);
    cublasSetMathMode(cublas.get(), CUBLAS_DEFAULT_MATH);
    cublasSetPointerMode(cublas.get(), CUBLAS_POINTER_MODE_HOST);
  }
}

TEST_CASE("covariance refuses bad arguments and accepts empty ones", "[covariance]") {
  const DataType type = DataType::kFloat32;
  alignas(16) double memory[64] = {};  // never touched: the checks come first
  const size_t bytes = covariance_workspace_bytes(type, 4);
  const auto call = [&](const void* z, int64_t first, int64_t tokens, int64_t d, int64_t stride,
                        size_t workspace_bytes) {
    return accumulate_covariance(memory, z, type, first, tokens, d, stride, memory + 32,
                                 workspace_bytes, nullptr);
  };
  CHECK(covariance_workspace_bytes(DataType::kFloat64, 4096) == 0);
  CHECK(call(nullptr, 0, 0, 4, 4, 0) == CUBLAS_STATUS_SUCCESS);
  CHECK(call(nullptr, 0, 4, 0, 0, 0) == CUBLAS_STATUS_SUCCESS);
  CHECK(call(memory + 16, 99, 4, 4, 4, bytes) == CUBLAS_STATUS_INVALID_VALUE);  // inside a block
  CHECK(call(memory + 16, -kCovarianceBlockTokens, 4, 4, 4, bytes) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(call(memory + 16, 0, 4, 4, 3, bytes) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(call(memory + 16, 0, 4, 4, 4, bytes - 1) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(call(nullptr, 0, 4, 4, 4, bytes) == CUBLAS_STATUS_INVALID_VALUE);
  CHECK(mirror_covariance(nullptr, 0, nullptr) == cudaSuccess);
  CHECK(mirror_covariance(nullptr, 4, nullptr) == cudaErrorInvalidValue);
  CHECK(mirror_covariance(memory, -1, nullptr) == cudaErrorInvalidValue);
}
