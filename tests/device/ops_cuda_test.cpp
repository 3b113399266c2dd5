#include "libslice/device/detail/ops_cuda.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <atomic>
#include <catch2/catch_all.hpp>
#include <limits>
#include <thread>
#include <vector>

#include "benchmarks/shapes.h"
#include "libslice/base/error.h"
#include "libslice/checkpoint/model.h"
#include "libslice/device/ops.h"
#include "libslice/method/covariance.h"
#include "libslice/method/detail/split_basis.h"
#include "libslice/method/pca.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/memory_limit.h"
#include "tests/support/reference.h"
#include "tests/support/require_gpu.h"
#include "tests/support/tiny_model.h"

// The operations of ops.h on a GPU against the same oracles as on the CPU. The kernels by
// themselves, on raw pointers, are tested in kernel_tests.

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

const auto kDtypes = {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16};

Tensor on_gpu(const Tensor& tensor) { return tensor.to(at::kCUDA); }

TEST_CASE("on a GPU a split basis gives the product to within its rounding", "[cuda]") {
  require_gpu();
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16}) {
    for (const int64_t rows : {int64_t{1}, int64_t{99}, int64_t{989}}) {
      CAPTURE(c10::toString(dtype), rows);
      const Tensor P = orthonormal(576, 432, 3), z = gaussian({rows, 576}, 4, dtype);
      const Tensor want = at::matmul(z.to(at::kDouble), P);
      const Tensor got = detail::SplitBasis(on_gpu(P), dtype).product(on_gpu(z)).cpu();
      const Tensor terms = at::matmul(z.to(at::kDouble).abs(), P.abs());
      const double left_out = dtype == at::kHalf ? 0x1p-22 : 0x1p-16;  // by two terms
      CHECK(violation(got, want,
                      rounding_bound(want, dtype) + terms * left_out +
                          sum_bound(terms, 2 * 576 + 1, at::kFloat)) == "");
    }
  }
}

TEST_CASE("on a GPU rms_norm equals the loop, on a stream of its own", "[cuda]") {
  require_gpu();
  const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t rows : shapes::kAwkwardRows) {
      for (const int64_t k : shapes::kAwkwardColumns) {
        CAPTURE(c10::toString(dtype), rows, k);
        const int64_t D = k + 17;
        const Tensor wide = gaussian({rows, k + 5}, 3, dtype) * 5, x = wide.slice(1, 3, k + 3);
        const Tensor want = rms_norm_reference(x, D, 1e-5);
        const Tensor bound = rms_norm_bound(want, k, dtype);
        CHECK(violation(ops::rms_norm(on_gpu(x), D, 1e-5).cpu(), want, bound) == "");
        CHECK(violation(ops::rms_norm(on_gpu(wide).slice(1, 3, k + 3), D, 1e-5).cpu(), want,
                        bound) == "");
      }
    }
  }
}

TEST_CASE("on a GPU rotated_add equals the float64 product", "[cuda]") {
  require_gpu();
  const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const int64_t rows : shapes::kAwkwardRows) {
      CAPTURE(c10::toString(dtype), rows);
      const Tensor wide = gaussian({rows, 150}, 5, dtype), x = wide.slice(1, 20, 131);
      const Tensor W = gaussian({75, 111}, 6, dtype) / 10, r = gaussian({rows, 75}, 7, dtype);
      const Tensor want = x.to(at::kDouble).mm(W.to(at::kDouble).t()) + r.to(at::kDouble);
      const Tensor bound = product_bound(want, x, W, r);
      const Tensor got =
          ops::rotated_add(on_gpu(wide).slice(1, 20, 131), on_gpu(W), on_gpu(r)).cpu();
      CHECK(violation(got, want, bound) == "");
    }
  }
}

TEST_CASE("on a GPU the covariance equals the CPU's, whatever pieces it comes in", "[cuda]") {
  require_gpu();
  const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
  for (const at::ScalarType dtype : kDtypes) {
    for (const int64_t D : {1, 21, 111, 500}) {
      CAPTURE(c10::toString(dtype), D);
      const int64_t n = 2 * 4096 + 99;
      const Tensor z = gaussian({n, D + 3}, 2, dtype).slice(1, 0, D), exact = z.to(at::kDouble);
      const Tensor device_z = on_gpu(z);
      Covariance whole(D), pieces(D);
      whole.accumulate(device_z);
      for (int64_t begin = 0; begin < n; begin += 1000)
        pieces.accumulate(device_z.slice(0, begin, std::min(begin + 1000, n)));
      const Tensor C = whole.matrix();
      CHECK(C.is_cuda());
      CHECK(bit_difference(C.cpu(), pieces.matrix().cpu()) == "");
      // Sums of half types in float32 within a block of 4096 tokens, all others in float64.
      const bool half = dtype == at::kHalf || dtype == at::kBFloat16;
      const Tensor magnitude = exact.abs().t().mm(exact.abs());
      const Tensor bound = sum_bound(magnitude, half ? 4096 : n, half ? at::kFloat : at::kDouble);
      CHECK(violation(C.cpu(), exact.t().mm(exact), bound) == "");
    }
  }
}

TEST_CASE("on a GPU principal directions are those of the matrix, and stay there", "[cuda]") {
  require_gpu();
  const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
  for (const int64_t D : {1, 2, 111, 500}) {
    CAPTURE(D);
    const Tensor A = gaussian({D, D + 7}, 12), C = A.mm(A.t());
    const PcaBasis basis = pca_basis(on_gpu(C));
    CHECK(basis.vectors.is_cuda());
    const Tensor Q = basis.vectors.cpu(), values = basis.values.cpu();
    CHECK(violation(C.mm(Q), Q * values, eigen_bound(D) * values[0].item<double>()) == "");
    CHECK(violation(Q.t().mm(Q), at::eye(D, at::kDouble), eigen_bound(D)) == "");
    CHECK((values.diff() <= 0).all().item<bool>());
  }
}

TEST_CASE("on a GPU a covariance with a NaN is refused", "[cuda]") {
  require_gpu();
  Tensor C = on_gpu(at::eye(4, at::kDouble));
  C[2][1].fill_(std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_NAMING(pca_basis(C), NumericError, "NaN");
}

TEST_CASE("on a GPU eigenproblems of two threads are those of one", "[cuda]") {
  require_gpu();
  constexpr int64_t kSize = 512, kTimes = 500;
  std::vector<Tensor> matrices;
  std::vector<ops::Eigen> want;
  for (const uint64_t seed : {1, 2}) {
    const Tensor A = gaussian({kSize, kSize + 7}, seed);
    matrices.push_back(on_gpu(A.mm(A.t())));
    want.push_back(ops::symmetric_eigen(matrices.back()));
  }
  c10::cuda::device_synchronize();
  std::atomic<int64_t> differ = 0, failed = 0;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < matrices.size(); ++i) {
    threads.emplace_back([&, i] {
      const c10::cuda::CUDAStreamGuard stream(c10::cuda::getStreamFromPool());
      try {
        for (int64_t turn = 0; turn < kTimes; ++turn) {
          const ops::Eigen got = ops::symmetric_eigen(matrices[i]);
          const bool same =
              at::equal(got.values, want[i].values) && at::equal(got.vectors, want[i].vectors);
          differ += same ? 0 : 1;
        }
      } catch (const std::exception&) {
        ++failed;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(differ == 0);
}

TEST_CASE("a GPU short of memory gets smaller chunks, and shorter still a clear error", "[cuda]") {
  require_gpu();
  const ModelConfig config = tiny_config();
  const Tensor calibration = random_tokens(config, 1024, 64), tokens = random_tokens(config, 2, 18);
  const auto slice = [&](const Tensor& windows, std::vector<std::string>& notes) {
    Model model = random_model(config);
    model.decoder().to(at::Device(at::kCUDA, 0));
    slice_model(model, windows,
                {.method = Method::kSliceGpt, .slice = 0.25, .chunk_tokens = windows.numel()},
                [&](const Progress& progress) {
                  if (!progress.note.empty()) notes.push_back(progress.note);
                });
    return model.decoder().forward(tokens).cpu();
  };
  std::vector<std::string> notes;
  const Tensor roomy = slice(calibration, notes);
  CHECK(notes.empty());
  {
    const MemoryLimit limit(int64_t{60} << 20);  // the signal takes 12 MiB
    CHECK(relative_difference(slice(calibration, notes), roomy) < 1e-9);
    REQUIRE_FALSE(notes.empty());
    CHECK(notes[0].find("is short of memory: continuing in chunks of") != std::string::npos);
  }
  const MemoryLimit limit(int64_t{4} << 20);
  const Tensor many = calibration.repeat({16, 1});  // 200 MB of signal
  CHECK_THROWS_NAMING(slice(many, notes), DeviceError,
                      "1048576 calibration tokens does not fit on cuda:0");
}

}  // namespace
}  // namespace slice
