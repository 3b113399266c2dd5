#include <catch2/catch_test_macros.hpp>
#include <utility>
#include <vector>

#include "benchmarks/shapes.h"
#include "cuda/eigen.h"
#include "tests/support/device_buffer.h"
#include "tests/support/kernel_reference.h"

using namespace slice::test;
using slice::kernels::CusolverHandle;
using slice::kernels::EigenWorkspace;
using slice::kernels::symmetric_eigen;
using slice::kernels::symmetric_eigen_workspace;

namespace {

struct Eigen {
  std::vector<double> values;
  std::vector<double> vectors;  // row j belongs to values[j]
};

Eigen run(const std::vector<double>& A, int64_t n, const CusolverHandle& handle,
          const Stream& stream) {
  EigenWorkspace size;
  REQUIRE(symmetric_eigen_workspace(&size, n, handle) == CUSOLVER_STATUS_SUCCESS);
  const DeviceBuffer device(static_cast<int64_t>(size.device_bytes));
  std::vector<char> host(size.host_bytes);
  const Output values(n, DataType::kFloat64);
  Output vectors(n * n, DataType::kFloat64);
  vectors.write(A);
  DeviceBuffer info(sizeof(int));
  info.fill(0xff);
  REQUIRE(symmetric_eigen(static_cast<double*>(values.data()), static_cast<double*>(vectors.data()),
                          info.as<int>(), n, device.data(), host.data(), size, handle,
                          stream.get()) == CUSOLVER_STATUS_SUCCESS);
  CHECK(info.read<int>() == std::vector<int>{0});
  CHECK(values.guards_are_whole());
  CHECK(vectors.guards_are_whole());
  return {values.values(), vectors.values()};
}

CusolverHandle make_handle() {
  CusolverHandle handle;
  REQUIRE(handle.create() == CUSOLVER_STATUS_SUCCESS);
  CusolverHandle moved = std::move(handle);
  CHECK_FALSE(handle);  // NOLINT(bugprone-use-after-move): moved-from is empty
  return moved;
}

}  // namespace

TEST_CASE("symmetric_eigen's residual and orthogonality are at rounding", "[cuda][eigen]") {
  require_gpu();
  const Stream stream;
  const CusolverHandle handle = make_handle();
  for (const int64_t n :
       {int64_t{0}, int64_t{1}, int64_t{19}, int64_t{99}, int64_t{111}, int64_t{500}}) {
    INFO("n " << n);
    // A covariance of fewer tokens than columns: half of its spectrum is zero.
    const int64_t tokens = n / 2 + 1;
    const auto A = covariance_reference(random_values(tokens * n, 1.0, 1), tokens, n, n);
    const Eigen eigen = run(A, n, handle, stream);
    const std::vector<double>& V = eigen.vectors;
    double norm = 0;  // Frobenius, at least the spectral one
    for (double a : A) norm += a * a;
    norm = std::sqrt(norm);
    double residual = 0;
    double orthogonality = 0;
    bool ascending = true;
    for (int64_t j = 0; j < n; ++j) {
      ascending = ascending && (j == 0 || eigen.values[j - 1] <= eigen.values[j]);
      for (int64_t i = 0; i < n; ++i) {
        double image = 0;
        double product = 0;
        for (int64_t k = 0; k < n; ++k) {
          image += A[i * n + k] * V[j * n + k];
          product += V[i * n + k] * V[j * n + k];
        }
        residual = std::max(residual, std::abs(image - eigen.values[j] * V[j * n + i]));
        orthogonality = std::max(orthogonality, std::abs(product - (i == j ? 1.0 : 0.0)));
      }
    }
    const double eps = epsilon(DataType::kFloat64);
    CHECK(ascending);
    CHECK(residual <= 8 * eps * static_cast<double>(n + 1) * norm);
    CHECK(orthogonality <= 8 * eps * static_cast<double>(n + 1));
    for (double v : V) REQUIRE_FALSE(std::isnan(v));
  }
}

TEST_CASE("symmetric_eigen finds the eigenvalues of a diagonal matrix in order", "[cuda][eigen]") {
  require_gpu();
  const Stream stream;
  const CusolverHandle handle = make_handle();
  constexpr int64_t kSize = 111;
  std::vector<double> A(kSize * kSize, 0.0);
  for (int64_t i = 0; i < kSize; ++i) A[i * kSize + i] = static_cast<double>(kSize - i);
  const Eigen eigen = run(A, kSize, handle, stream);
  for (int64_t j = 0; j < kSize; ++j) {
    CHECK(std::abs(eigen.values[j] - static_cast<double>(j + 1)) <= 1e-12);
    CHECK(std::abs(std::abs(eigen.vectors[j * kSize + kSize - 1 - j]) - 1.0) <= 1e-12);
  }
}

TEST_CASE("symmetric_eigen refuses bad arguments", "[eigen]") {
  const CusolverHandle none;
  EigenWorkspace size{1, 1};
  CHECK(symmetric_eigen_workspace(&size, 0, none) == CUSOLVER_STATUS_SUCCESS);
  CHECK(size.device_bytes == 0);
  CHECK(symmetric_eigen_workspace(nullptr, 4, none) == CUSOLVER_STATUS_INVALID_VALUE);
  CHECK(symmetric_eigen_workspace(&size, -1, none) == CUSOLVER_STATUS_INVALID_VALUE);
  CHECK(symmetric_eigen_workspace(&size, 4, none) == CUSOLVER_STATUS_NOT_INITIALIZED);
  double memory[32] = {};
  int info = 0;
  const auto call = [&](double* values, int64_t n, int* where) {
    return symmetric_eigen(values, memory, where, n, nullptr, nullptr, {}, none, nullptr);
  };
  CHECK(call(memory, 4, &info) == CUSOLVER_STATUS_NOT_INITIALIZED);
  CHECK(call(nullptr, 4, &info) == CUSOLVER_STATUS_INVALID_VALUE);
  CHECK(call(memory, -1, &info) == CUSOLVER_STATUS_INVALID_VALUE);
  CHECK(call(memory, 4, nullptr) == CUSOLVER_STATUS_INVALID_VALUE);
}
