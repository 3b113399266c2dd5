#include "libslice/model/adapter.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <functional>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/reference.h"
#include "tests/support/two_branch_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

TEST_CASE("a sublayer adds all its writers to the stream and passes it to the tap") {
  TwoBranchModel model;
  const Sublayer& s = model.adapter.sublayers[0];
  Tensor seen;
  const TapHandle handle = s.tap->attach([&](const Tensor& z) { seen = z; });
  const Tensor x = gaussian({2, 5, TwoBranchModel::D}, 1);
  const Tensor n = rms_norm_reference(x, TwoBranchModel::D, 1e-5) * s.norm->weight;
  Tensor want = x.clone();
  for (const Branch& part : s.branches) {
    want += at::matmul(part.hidden(n, nullptr), part.writer.weight.t()) + part.writer.bias;
  }
  const Tensor z = s.forward(x);
  const double allowance = network_allowance(TwoBranchModel::F, 1, at::kDouble);
  CHECK(relative_difference(z, want) < allowance);
  CHECK(seen.is_same(z));
}

TEST_CASE("logits are scaled before their soft cap") {
  const Tensor x = gaussian({3, 7}, 2);
  const LogitForm form{.scale = 2.5, .softcap = 3};
  CHECK(violation(form(x), at::tanh(x * 2.5 / 3) * 3, sum_bound(x.abs() * 2.5, 8, at::kDouble)) ==
        "");
  CHECK(form(x).abs().max().item<double>() < 3);
  CHECK(LogitForm()(x).is_same(x));
}

TEST_CASE("a whole adapter passes its check") {
  const TwoBranchModel model;
  CHECK_NOTHROW(check_adapter(model.adapter));
}

struct Fault {
  const char* name;  // in the message
  std::function<void(ModelAdapter&)> make;
};

template <typename Refusal>
void check_refused(const std::vector<Fault>& faults) {
  for (const Fault& fault : faults) {
    TwoBranchModel model;
    fault.make(model.adapter);
    INFO("fault: " << fault.name);
    CHECK_THROWS_NAMING(check_adapter(model.adapter), Refusal, fault.name);
  }
}

Branch& first(ModelAdapter& m) { return m.sublayers[0].branches[0]; }

TEST_CASE("an adapter whose tensors do not fit is refused by name") {
  constexpr int64_t D = TwoBranchModel::D;
  check_refused<ShapeError>({
      {"positions",
       [](ModelAdapter& m) {
         m.embeddings[1].weight = at::ones({4, D + 1});
       }},
      {"words", [](ModelAdapter& m) { m.embeddings[0].weight = Tensor(); }},
      {"head", [](ModelAdapter& m) { m.head.weight = Tensor(); }},
      {"head",
       [](ModelAdapter& m) {
         m.head.weight = at::ones({5, D - 1});
       }},
      {"head bias", [](ModelAdapter& m) { m.head.bias = at::ones({3}); }},
      {"block 1 norm", [](ModelAdapter& m) { m.sublayers[1].norm = RmsNorm{nullptr}; }},
      {"block 1 norm", [](ModelAdapter& m) { m.sublayers[1].norm = RmsNorm(D + 1, 1e-5); }},
      {"block 0 norm of a branch", [](ModelAdapter& m) { first(m).norm = RmsNorm(D + 1, 1e-5); }},
      {"final norm", [](ModelAdapter& m) { m.final_norm = RmsNorm{nullptr}; }},
      {"block 0 in 0",
       [](ModelAdapter& m) {
         first(m).readers[0].weight = at::ones({5, D + 2});
       }},
      {"block 0 in 0", [](ModelAdapter& m) { first(m).readers[0].weight = at::ones({D}); }},
      {"block 0 in 0 bias",
       [](ModelAdapter& m) {
         first(m).readers[0].bias = at::ones({D, 1});
       }},
      {"block 0 out 0",
       [](ModelAdapter& m) {
         first(m).writer.weight = at::ones({D + 3, 5});
       }},
      {"block 0 out 0 bias", [](ModelAdapter& m) { first(m).writer.bias = at::ones({D + 3}); }},
  });
}

TEST_CASE("an adapter whose parts are missing or contradict each other is refused by name") {
  constexpr int64_t D = TwoBranchModel::D;
  check_refused<ArgumentError>({
      {"hidden size", [](ModelAdapter& m) { m.hidden_size = 0; }},
      {"embedding", [](ModelAdapter& m) { m.embeddings.clear(); }},
      {"embedding", [](ModelAdapter& m) { m.embed = nullptr; }},
      {"sublayer", [](ModelAdapter& m) { m.sublayers.clear(); }},
      {"head shares its memory with words",
       [](ModelAdapter& m) { m.head.weight = m.embeddings[0].weight; }},
      {"head shares its memory with words",
       [](ModelAdapter& m) {
         m.head = {"head", m.embeddings[0].weight.slice(0, 0, 9), {}};
       }},
      {"block 0: want", [](ModelAdapter& m) { m.sublayers[0].tap = nullptr; }},
      {"block 0: want", [](ModelAdapter& m) { m.sublayers[0].branches.clear(); }},
      {"block 0: want", [](ModelAdapter& m) { m.sublayers[0].shortcut = Shortcut{nullptr}; }},
      {"sliced model cannot be sliced again",
       [](ModelAdapter& m) { m.sublayers[0].shortcut->set_dense(at::eye(D), at::kDouble); }},
      {"block 0: want readers", [](ModelAdapter& m) { first(m).readers.clear(); }},
      {"block 0: want readers", [](ModelAdapter& m) { first(m).hidden = nullptr; }},
      {"block 0 norm: want the same kind",
       [](ModelAdapter& m) { m.sublayers[0].norm = LayerNorm(D, 1e-5); }},
      {"block 0: norms of branches want one eps",
       [](ModelAdapter& m) { first(m).norm = RmsNorm(D, 1e-3); }},
      {"block 0 norm: want the same kind",
       [](ModelAdapter& m) { first(m).norm = LayerNorm(D, 1e-5); }},
      {"block 0 in 0: its norm has a bias",
       [](ModelAdapter& m) {
         m.final_norm = m.sublayers[0].norm = LayerNorm(D, 1e-5);
         first(m).readers[0].bias = Tensor();
       }},
  });
}

TEST_CASE("a NaN or Inf anywhere in the weights is refused by name") {
  const double nan = std::numeric_limits<double>::quiet_NaN(),
               inf = std::numeric_limits<double>::infinity();
  const auto spoil = [](Tensor& tensor, double value) { tensor.view({-1})[1].fill_(value); };
  const std::vector<std::pair<std::string, std::function<void(TwoBranchModel&)>>> faults = {
      {"words", [&](TwoBranchModel& m) { spoil(m.words->weight, nan); }},
      {"positions", [&](TwoBranchModel& m) { spoil(m.positions->weight, inf); }},
      {"head (31, 20) float64: holds a NaN",
       [&](TwoBranchModel& m) { spoil(m.head->weight, nan); }},
      {"head bias", [&](TwoBranchModel& m) { spoil(m.head->bias, -inf); }},
      {"block 1 norm weight",
       [&](TwoBranchModel& m) { spoil(m.adapter.sublayers[1].norm->weight, nan); }},
      {"final norm weight", [&](TwoBranchModel& m) { spoil(m.adapter.final_norm->weight, nan); }},
      {"block 0 in 1",
       [&](TwoBranchModel& m) {
         spoil(m.adapter.sublayers[0].branches[1].readers[0].weight, inf);
       }},
      {"block 1 out 0 bias",
       [&](TwoBranchModel& m) { spoil(m.adapter.sublayers[1].branches[0].writer.bias, nan); }},
  };
  for (const auto& [name, make] : faults) {
    TwoBranchModel model;
    make(model);
    CHECK_THROWS_NAMING(check_adapter(model.adapter), NumericError, name);
  }
}

}  // namespace
}  // namespace slice
