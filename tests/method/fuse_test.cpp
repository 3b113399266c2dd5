#include "libslice/method/fuse.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>

#include "libslice/base/error.h"
#include "libslice/model/decoder.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/shared_data.h"
#include "tests/support/two_branch_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a fused weight has the norm's weight on its columns") {
  RmsNorm norm(4, 1e-5);
  norm->weight.set_data(gaussian({4}, 1, at::kFloat));
  const Tensor W = gaussian({3, 4}, 2, at::kHalf), fused = fused_weight(W, norm);
  for (int64_t j = 0; j < 4; ++j) {
    CHECK(bit_difference(fused.select(1, j),
                         W.select(1, j).to(at::kDouble) * norm->weight[j].item<double>()) == "");
  }
  CHECK(bit_difference(fused_weight(W, RmsNorm(4, 1e-5, false)), W.to(at::kDouble)) == "");
  CHECK_THROWS_NAMING(fused_weight(at::ones({3, 5}), norm), ShapeError, "(…, 4)");
}

TEST_CASE("a fused bias holds what the norm's bias becomes, and there has to be one") {
  LayerNorm norm(4, 1e-5);
  norm->bias.set_data(gaussian({4}, 1, at::kFloat));
  const Tensor W = gaussian({3, 4}, 2, at::kHalf), b = gaussian({3}, 3, at::kHalf);
  const Tensor want = b.to(at::kDouble) + W.to(at::kDouble).mv(norm->bias.to(at::kDouble));
  const Tensor size =
      b.to(at::kDouble).abs() + W.to(at::kDouble).abs().mv(norm->bias.abs().to(at::kDouble));
  const Tensor bound = sum_bound(size, 5, at::kDouble);
  CHECK(violation(fused_bias({"reader", W, b}, norm), want, bound) == "");
  CHECK(bit_difference(fused_bias({"reader", W, b}, RmsNorm(4, 1e-5)), b.to(at::kDouble)) == "");
  CHECK_FALSE(fused_bias({"reader", W, {}}, RmsNorm(4, 1e-5)).defined());
  CHECK_THROWS_NAMING(fused_bias({"reader", W, {}}, norm), ArgumentError,
                      "reader: its norm has a bias");
}

TEST_CASE("centring takes the mean out of rows and columns") {
  const Tensor X = gaussian({6, 6}, 1),
               M = at::eye(6, at::kDouble) - at::ones({6, 6}, at::kDouble) / 6;
  const Tensor terms = at::eye(6, at::kDouble) + at::ones({6, 6}, at::kDouble) / 6;
  const auto bound = [](const Tensor& size) { return sum_bound(size, 8, at::kDouble); };
  CHECK(violation(centred_rows(X), X.mm(M), bound(X.abs().mm(terms))) == "");
  CHECK(violation(centred_columns(X), M.mm(X), bound(terms.mm(X.abs()))) == "");
}

TEST_CASE("fusing leaves plain norms and the same function, for every shape of LLaMA") {
  for (const ModelConfig& config : tiny_configs()) {
    INFO(describe(config));
    const auto decoder = random_decoder(config, 5);
    decoder->prepare_head();
    const Tensor tokens = random_tokens(config, 2, 15), dense = decoder->forward(tokens);
    ModelAdapter adapter = decoder->adapter();
    fuse_norms(adapter);
    for (const auto& parameter : decoder->named_parameters()) {
      if (parameter.key().find("norm") != std::string::npos)
        CHECK(parameter.value().eq(1).all().item<bool>());
    }
    CHECK(relative_difference(decoder->forward(tokens), dense) < kSameFunction);
  }
}

TEST_CASE("fusing a user-defined model with parallel branches and biases keeps its function") {
  TwoBranchModel model;
  const Tensor tokens = TwoBranchModel::tokens(2, 9), dense = model.logits(tokens);
  fuse_norms(model.adapter);
  CHECK(model.adapter.final_norm->weight.eq(1).all().item<bool>());
  CHECK(relative_difference(model.logits(tokens), dense) < kSameFunction);
}

TEST_CASE("norms of two branches are fused each into its own readers, and then are one") {
  TwoBranchModel model;
  const Tensor tokens = TwoBranchModel::tokens(2, 9), shared = model.logits(tokens);
  model.split_norms();
  const Tensor dense = model.logits(tokens);
  CHECK(relative_difference(shared, dense) > 1e-3);  // the second norm counts
  fuse_norms(model.adapter);
  CHECK(relative_difference(model.logits(tokens), dense) < kSameFunction);
  for (Sublayer& s : model.adapter.sublayers) s.branches[1].norm = Norm{nullptr};
  CHECK(relative_difference(model.logits(tokens), dense) < kSameFunction);
}

TEST_CASE("fusing trained models keeps their function") {
  for (const char* file :
       {"models/stories260K/stories260K.bin", "models/babyllama-tok105/tok105_model5000.bin"}) {
    const auto path = shared_data(file);
    if (!path) SKIP("the trained models of the shared data are not here");
    INFO(file);
    const Model model = load_model(*path, {.dtype = at::kDouble});
    const Tensor tokens = random_tokens(model.config(), 2, 48),
                 dense = model.decoder().forward(tokens);
    model.decoder().prepare_head();
    ModelAdapter adapter = model.decoder().adapter();
    fuse_norms(adapter);
    CHECK(relative_difference(model.decoder().forward(tokens), dense) < kSameFunction);
  }
}

}  // namespace
}  // namespace slice
