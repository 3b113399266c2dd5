#pragma once

#include <ATen/ATen.h>

#include <array>
#include <catch2/catch_all.hpp>
#include <string>
#include <vector>

#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/ranks.h"
#include "tests/support/tiny_model.h"

namespace slice::tests {

/// Two ranks slice a model as one does. Of 15 windows one is held out, and one for choices: rank 1
/// has them, rank 0 none.
inline void check_two_ranks(const ModelConfig& config, const SliceOptions& options) {
  const at::Tensor calibration = random_tokens(config, 15, 16),
                   tokens = random_tokens(config, 2, 12, 7);
  Model alone = random_model(config);
  slice_model(alone, calibration, options);
  std::array<Model, 2> models = {random_model(config), random_model(config)};
  const auto thrown = run_ranks(2, [&](const ProcessGroup& group) {
    slice_model(models[group.rank()], calibration, options, {}, group);
  });
  REQUIRE(thrown == std::vector<std::string>{"", ""});
  const at::NoGradGuard no_grad;
  const at::Tensor want = alone.decoder().forward(tokens);
  CHECK(relative_difference(models[0].decoder().forward(tokens), want) < kSameSlicing);
  CHECK(relative_difference(models[1].decoder().forward(tokens), want) < kSameSlicing);
}

}  // namespace slice::tests
