// Which of LibTorch's and MKL's code paths this process takes: hidden, .ci/code_paths.sh asks for it.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/core.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/detail/sha256.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("the instruction set, the threads and the bits of a few results", "[.code_path]") {
  const auto bits = [](const std::vector<Tensor>& results) {
    detail::Sha256 sha256;
    for (const Tensor& result : results) sha256.add(result.const_data_ptr(), result.nbytes());
    return sha256.text().substr(0, 8);
  };
  std::vector<Tensor> products, functions;
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const Tensor x = gaussian({517, 201}, 1, dtype), W = gaussian({201, 111}, 2, dtype);
    products.push_back(x.mm(W));
    products.push_back(x[0].unsqueeze(0).mm(W));
    functions.insert(functions.end(), {x.exp(), x.cos(), x.softmax(-1), x.square().sum(0)});
  }
  fmt::print("{} with {} threads: products {}, functions {}\n", at::get_cpu_capability(),
             at::get_num_threads(), bits(products), bits(functions));
}

}  // namespace
}  // namespace slice
