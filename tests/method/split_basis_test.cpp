#include "libslice/method/detail/split_basis.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <thread>
#include <vector>

#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("products in several threads leave LibTorch's switches of reduced sums as they were") {
  using Option = at::CuBLASReductionOption;
  at::Context& context = at::globalContext();
  const Tensor P = gaussian({6, 4}, 1), z = gaussian({3, 6}, 2, at::kHalf);
  for (const bool reduced : {true, false}) {
    context.setAllowFP16ReductionCuBLAS(reduced);
    context.setAllowBF16ReductionCuBLAS(!reduced);
    const Option half = context.allowFP16ReductionCuBLAS();
    const Option bfloat = context.allowBF16ReductionCuBLAS();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const detail::SplitBasis split(P, at::kHalf);
        for (int turn = 0; turn < 500; ++turn) split.product(z);
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(context.allowFP16ReductionCuBLAS() == half);
    CHECK(context.allowBF16ReductionCuBLAS() == bfloat);
  }
  context.setAllowFP16ReductionCuBLAS(true);
  context.setAllowBF16ReductionCuBLAS(true);
}

}  // namespace
}  // namespace slice
