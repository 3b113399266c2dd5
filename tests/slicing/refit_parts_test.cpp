// Every part of a refit by itself, against what the mathematics says of it: a part that is left
// out, or sees other windows or another site's gradients, is found.

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_all.hpp>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "libslice/method/calibration_windows.h"
#include "libslice/method/refit.h"
#include "libslice/model/adapter.h"
#include "libslice/slicing/detail/refit_model.h"
#include "libslice/slicing/slice_model.h"
#include "tests/support/error_bounds.h"
#include "tests/support/matchers.h"
#include "tests/support/tiny_model.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

constexpr double kRidges[] = {1e-4, 1e-3, 1e-2, 1e-1};  // of which a refit chooses

/// Weights by name, as they are now.
std::map<std::string, Tensor> weights_of(const Model& model) {
  std::map<std::string, Tensor> weights;
  for (const auto& p : model.decoder().named_parameters())
    weights[p.key()] = p.value().detach().clone();
  return weights;
}

/// The windows that a refit fits in the end: all that are not held out.
Tensor fitted_rows(const Tensor& tokens) {
  const CalibrationWindows windows(tokens);
  std::vector<int64_t> rows = windows.rows(WindowUse::kFit);
  for (const int64_t row : windows.rows(WindowUse::kChoose)) rows.push_back(row);
  REQUIRE(std::ssize(rows) < tokens.size(0));
  return tokens.index_select(0, at::tensor(rows, at::kLong));
}

/// The signal after so many sublayers, (n·T, k).
Tensor signal_after(const ModelAdapter& model, const Tensor& tokens, size_t sublayers) {
  Tensor x = model.embed(tokens);
  for (size_t i = 0; i < sublayers; ++i) x = model.sublayers[i].forward(x);
  return x.flatten(0, 1);
}

/// Refits a model in float64 with gradients of our own; its head is untied before.
void refit(Model& model, const Tensor& tokens, const SliceOptions& options,
           const std::vector<Tensor>& gammas) {
  model.decoder().prepare_head();
  ModelAdapter adapter = model.decoder().adapter();
  refit_model(adapter, tokens, options, {}, gammas);
}

TEST_CASE("the basis of a site holds the direction that the loss feels there, loud or not") {
  const ModelConfig config = tiny_config();
  Model dense = random_model(config), model = random_model(config);
  const int64_t D = config.hidden_size, sites = config.sites();
  const Tensor felt = orthonormal(D, sites, 11);  // (D, sites): of each site one
  std::vector<Tensor> gammas;
  for (int64_t site = 0; site < sites; ++site)
    gammas.push_back(at::outer(felt.select(1, site), felt.select(1, site)));
  SliceOptions options;
  options.kept = D / 2;
  refit(model, random_tokens(config, 16, 24), options, gammas);
  const at::NoGradGuard no_grad;
  const ModelAdapter before = dense.decoder().adapter(), after = model.decoder().adapter();
  for (size_t site = 0; site < before.sublayers.size(); ++site) {
    CAPTURE(site);
    std::vector<Tensor> W, sliced;  // W_in diag(α) and W_in diag(α) P
    for (const LinearRef& reader : before.sublayers[site].branches[0].readers)
      W.push_back(reader.weight * before.sublayers[site].norm->weight);
    for (const LinearRef& reader : after.sublayers[site].branches[0].readers)
      sliced.push_back(reader.weight);
    const Tensor P = at::linalg_pinv(at::cat(W)).mm(at::cat(sliced));  // (D, k)
    CHECK(P.t().mv(felt.select(1, static_cast<int64_t>(site))).square().sum().item<double>() >
          0.99);
  }
}

TEST_CASE("the channels that go are those that write where the loss after them feels nothing") {
  const ModelConfig config = tiny_config();
  Model model = random_model(config);
  const int64_t D = config.hidden_size, F = config.ffn_size;
  const at::NoGradGuard no_grad;
  for (const auto& p : model.decoder().named_parameters()) {
    if (!p.key().ends_with("down_proj.weight")) continue;
    Tensor W = p.value();                            // (D, F)
    W.slice(1, 0, F, 2).slice(0, D / 2).zero_();     // even channels: the first half
    W.slice(1, 1, F, 2).slice(0, 0, D / 2).zero_();  // odd ones: the other, loudly
    W.slice(1, 1, F, 2).mul_(10);
  }
  const auto before = weights_of(model);
  Tensor first = at::zeros({D}, at::kDouble);
  first.slice(0, 0, D / 2).fill_(1);
  std::vector<Tensor>
      gammas;  // after a feed-forward network the first half is felt, else the other
  for (int64_t site = 0; site < config.sites(); ++site)
    gammas.push_back(at::diag(site > 0 && site % 2 == 0 ? first : 1 - first));
  const std::vector<int64_t> half(config.layers, F / 2);
  refit(model, random_tokens(config, 16, 24), {.slice = 0, .ffn_sizes = half}, gammas);
  const auto after = weights_of(model);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const std::string name = "model.layers." + std::to_string(layer) + ".mlp.gate_proj.weight";
    CAPTURE(name);
    CHECK(bit_difference(after.at(name), before.at(name).slice(0, 0, F, 2).contiguous()) == "");
  }
}

/// (A + ρ·mean diag A)⁻¹ B
Tensor solved(const Tensor& A, const Tensor& B, double ridge) {
  const Tensor I = at::eye(A.size(0), A.options());
  return std::get<0>(at::linalg_solve_ex(A + ridge * A.diagonal().mean() * I, B));
}

TEST_CASE(
    "a narrowed network's writer is least squares twice: of what it wrote, of the dense one") {
  const ModelConfig config = tiny_config();
  Model dense = random_model(config), model = random_model(config);
  const Tensor tokens = random_tokens(config, 16, 24), rows = fitted_rows(tokens);
  const int64_t F = config.ffn_size;
  const std::vector<Tensor> gammas(config.sites(), at::eye(config.hidden_size, at::kDouble));
  refit(model, tokens, {.slice = 0, .ffn_sizes = {F - 9, F}}, gammas);
  const at::NoGradGuard no_grad;
  const auto before = weights_of(dense), after = weights_of(model);
  const std::string network = "model.layers.0.mlp.";
  const Tensor gates = before.at(network + "gate_proj.weight"),
               kept_gates = after.at(network + "gate_proj.weight");
  std::vector<int64_t> kept;
  for (int64_t channel = 0; channel < F; ++channel)
    for (const Tensor& row : kept_gates.unbind())
      if (row.equal(gates[channel])) kept.push_back(channel);
  REQUIRE(std::ssize(kept) == F - 9);
  const ModelAdapter adapter = dense.decoder().adapter();
  const Sublayer& s = adapter.sublayers[1];
  const Tensor x = signal_after(adapter, rows, 1).view({rows.size(0), rows.size(1), -1});
  const Tensor h = s.branches[0].hidden(s.norm->forward(x), nullptr).flatten(0, 1);
  const Tensor own = h.index_select(1, at::tensor(kept, at::kLong));       // (n, F')
  const Tensor wrote = h.mm(before.at(network + "down_proj.weight").t());  // (n, D)
  const Tensor A = own.t().mm(own), R = own.t().mm(wrote);
  const Tensor start = solved(A, R, 1e-4);  // (F', D)
  double nearest = std::numeric_limits<double>::infinity();
  for (const double ridge : kRidges) {
    const Tensor want = start + solved(A, R - A.mm(start), ridge);
    nearest = std::min(nearest, relative_difference(
                                    after.at(network + "down_proj.weight").t().contiguous(), want));
  }
  // Two solves here and two there, of a condition that the ridge keeps below tr(A) / (ρ·mean).
  CHECK(nearest < 4 * solve_bound(F, static_cast<double>(F) / kRidges[0]));
}

TEST_CASE("what one sublayer lost is repaired by the writer after it") {
  const ModelConfig config = tiny_config();
  Model dense = random_model(config), model = random_model(config);
  const Tensor tokens = random_tokens(config, 16, 24), rows = fitted_rows(tokens);
  const int64_t F = config.ffn_size;
  const std::vector<Tensor> gammas(config.sites(), at::eye(config.hidden_size, at::kDouble));
  refit(model, tokens, {.slice = 0, .ffn_sizes = {F / 2, F}}, gammas);
  const at::NoGradGuard no_grad;
  const ModelAdapter wanted = dense.decoder().adapter();
  ModelAdapter got = model.decoder().adapter();
  const Tensor z = signal_after(wanted, rows, 3);  // after the second layer's attention
  const auto error = [&] { return (signal_after(got, rows, 3) - z).square().sum().item<double>(); };
  const double refitted = error();
  got.sublayers[2].branches[0].writer.weight.set_data(
      wanted.sublayers[2].branches[0].writer.weight.clone());
  CHECK(refitted < 0.95 * error());
}

TEST_CASE("the head is fitted to the dense signal on every window that is not held out") {
  const ModelConfig config = tiny_config();
  Model dense = random_model(config), model = random_model(config);
  const Tensor tokens = random_tokens(config, 16, 24), rows = fitted_rows(tokens);
  const int64_t D = config.hidden_size;
  const std::vector<Tensor> gammas(config.sites(), at::eye(D, at::kDouble));
  SliceOptions options{.head = HeadMode::kSlice};
  options.kept = 16;
  refit(model, tokens, options, gammas);
  const at::NoGradGuard no_grad;
  const ModelAdapter before = dense.decoder().adapter(), after = model.decoder().adapter();
  const auto normed = [&](const ModelAdapter& own) {
    const Tensor x = signal_after(own, rows, own.sublayers.size());
    return x * (x.square().sum(1, true) / D + own.final_norm->eps()).rsqrt();
  };
  const Tensor n = normed(before), sliced = normed(after);             // (n, D), (n, k)
  const Tensor read = before.head.weight * before.final_norm->weight;  // (V, D)
  const Tensor M = at::linalg_pinv(read).mm(after.head.weight).t();    // (k, D)
  const Tensor A = sliced.t().mm(sliced), R = sliced.t().mm(n);
  // (A + ρ μ) M = R + ρ μ Pᵀ, μ the mean diagonal: what M says of P is orthonormal.
  double nearest = std::numeric_limits<double>::infinity();
  for (const double ridge : kRidges) {
    const Tensor P = M + (A.mm(M) - R) / (ridge * A.diagonal().mean());
    const Tensor I = at::eye(P.size(0), at::kDouble);
    nearest = std::min(nearest, (P.mm(P.t()) - I).norm().item<double>());
  }
  CHECK(nearest < kSameFunction * static_cast<double>(D) / kRidges[0]);  // A's norm over ρ μ
}

}  // namespace
}  // namespace slice
