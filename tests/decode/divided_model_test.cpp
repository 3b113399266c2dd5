// What needs no GPU; decoding over two is in divided_model_cuda_test.cpp.

#include "libslice/decode/divided_model.h"

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace slice {

using namespace tests;

TEST_CASE("a model is divided among GPUs alone, and only where steps are captured") {
  const TemporaryDirectory scratch;
  const std::string path = (scratch.path() / "model").string();
  save_model(random_model(tiny_config()), path, {.dtype = at::kFloat});
  const std::vector<at::Device> cpu = {at::kCPU}, none_such = {at::Device(at::kCUDA, 99)};
  CHECK_THROWS_AS(DividedModel(path, cpu), DeviceError);
  CHECK_THROWS_AS(DividedModel(path, none_such), DeviceError);
  CHECK_THROWS_NAMING(DividedModel(path, cpu, at::kDouble), ArgumentError, "float32");
  CHECK_THROWS_AS(DividedModel(scratch.path() / "missing", cpu), FormatError);
}

}  // namespace slice
