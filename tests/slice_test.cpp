#include "libslice/slice.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "tests/support/places.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace {

TEST_CASE("one header is enough to load, slice, save, measure and continue a text") {
  const slice::tests::TemporaryDirectory directory;
  const auto path = slice::tests::data_directory() / "tiny_llama_gqa";
  slice::Model model = slice::load_model(path);
  const at::Tensor tokens = slice::tests::random_tokens(model.config(), 8, 32);
  const slice::SliceReport report = slice::slice_model(model, tokens, {.slice = 0.25});
  CHECK(report.stream_sizes == std::vector<int64_t>{24, 24, 24, 24, 32});
  slice::save_model(model, directory.path() / "sliced");
  const slice::Model again = slice::load_model(directory.path() / "sliced");
  CHECK(slice::perplexity(again, tokens) == slice::perplexity(model, tokens));
  CHECK(slice::generate(again, {1, 2, 3}, {.max_tokens = 8}) ==
        slice::generate(model, {1, 2, 3}, {.max_tokens = 8}));
}

}  // namespace
