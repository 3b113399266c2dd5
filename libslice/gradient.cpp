#include "libslice/gradient.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "libslice/covariance.h"
#include "libslice/detail/check.h"
#include "libslice/detail/finite.h"
#include "libslice/detail/stopwatch.h"
#include "libslice/detail/window_share.h"
#include "libslice/device.h"
#include "libslice/stream.h"

namespace slice {

using at::Tensor;

namespace {

/// Tokens whose logits are in memory together.
constexpr int64_t kHeadTokens = 1024;

Tensor with_gradient(const Tensor& x) { return x.detach().requires_grad_(true); }

Tensor gradient_of(const Tensor& y, const Tensor& x, const Tensor& grad_y) {
  return torch::autograd::grad({y}, {x}, {grad_y})[0];
}

/// Gradients of the loss at the head: of logits it is p − onehot(y), y ~ p.
///
/// @param x  one window, (T, D) → (T, D) float32 at least
Tensor gradient_at_head(const ModelAdapter& model, const Tensor& x, at::Generator& random) {
  std::vector<Tensor> gradients;
  for (const Tensor& rows : x.split(kHeadTokens)) {
    const Tensor leaf = with_gradient(rows);
    Tensor logits;
    {
      const at::AutoGradMode grad(true);
      logits = at::linear(model.final_norm->forward(leaf), model.head.weight, model.head.bias);
    }
    Tensor error = logits.detach().to(at::promote_types(logits.scalar_type(), at::kFloat));
    detail::check_finite(error, "logits");
    error = error.softmax(-1);                                                 // (T, V)
    const Tensor target = error.multinomial(1, /*replacement=*/true, random);  // (T, 1)
    error.scatter_add_(1, target, at::full_like(target, -1, error.options()));
    gradients.push_back(gradient_of(logits, leaf, error.to(logits.scalar_type())));
  }
  return at::cat(gradients);
}

/// float32 products on a GPU's tensor cores (TF32) while it lives: what rounding adds is far below
/// what drawing one target a token does.
class TensorCores {
 public:
  TensorCores() { at::globalContext().setAllowTF32CuBLAS(true); }
  TensorCores(const TensorCores&) = delete;
  TensorCores& operator=(const TensorCores&) = delete;
  ~TensorCores() { at::globalContext().setAllowTF32CuBLAS(before_); }

 private:
  bool before_ = at::globalContext().allowTF32CuBLAS();
};

/// The seed of a window's targets; that of the first is the seed itself.
uint64_t seed_of(uint64_t seed, int64_t window) {
  constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;  // of 2⁶⁴, odd: no two windows meet
  return seed + kGoldenRatio * static_cast<uint64_t>(window);
}

/// Windows that pass together: on a device as many as a third of its free memory holds with their
/// stream at every site and one sublayer's graph, up to kMostTokens; one on the CPU.
int64_t batch_windows(const ModelAdapter& model, int64_t window_tokens) {
  constexpr int64_t kMostTokens = 32768, kGraph = 30;  // streams' worth of one sublayer's graph
  const at::Device device = model.head.weight.device();
  if (!device.is_cuda()) return 1;
  const int64_t token_bytes =
      (std::ssize(model.sublayers) + kGraph) * model.hidden_size * model.head.weight.element_size();
  const int64_t tokens = std::min(kMostTokens, device_memory(device).free / 3 / token_bytes);
  return std::max<int64_t>(1, tokens / window_tokens);
}

/// A power of two that brings a gradient to about kTarget, which half precision holds with room on
/// both sides.
double balance(const Tensor& gradient) {
  constexpr double kTarget = 1.0 / 16;
  const double rms = gradient.to(at::kDouble).square().mean().sqrt().item<double>();
  return rms > 0 && std::isfinite(rms) ? std::exp2(std::round(std::log2(kTarget / rms))) : 1.0;
}

}  // namespace

std::vector<Tensor> gradient_covariances(const ModelAdapter& model, const Tensor& tokens,
                                         uint64_t seed, const OnProgress& on_progress,
                                         const ProcessGroup& group) {
  Stream::check_tokens(tokens);
  const at::NoGradGuard no_grad;
  const auto sites = static_cast<int64_t>(model.sublayers.size()) + 1;
  const auto [first, last] = detail::window_share(tokens.size(0), tokens.size(1), group);
  const int64_t windows = last - first;
  const detail::Stopwatch clock;
  at::Generator random = at::globalContext().defaultGenerator(model.head.weight.device()).clone();
  std::vector<Covariance> sums(sites, Covariance(model.hidden_size));
  const TensorCores tensor_cores;
  std::vector<double> scales(sites, 0);  // of each site's gradients; the first batch says which
  const int64_t batch = batch_windows(model, tokens.size(1));
  for (int64_t window = first; window < last; window += batch) {
    const Tensor ids = tokens.slice(0, window, std::min(window + batch, last));
    std::vector<Tensor> stream = {model.embed(ids)};  // (n, T, D)
    for (const Sublayer& s : model.sublayers) stream.push_back(s.forward(stream.back()));
    std::vector<Tensor> at_head;
    for (int64_t i = 0; i < ids.size(0); ++i) {
      random.set_current_seed(seed_of(seed, window + i));
      at_head.push_back(gradient_at_head(model, stream.back()[i], random));
    }
    Tensor g = at::stack(at_head);  // (n, T, D)
    double scale = 1;
    for (int64_t site = sites - 1;; --site) {
      if (scales[site] == 0) scales[site] = group.copy_from(0, scale * balance(g));
      g = (g * (scales[site] / scale)).to(stream.back().scalar_type());
      scale = scales[site];
      sums[site].accumulate(g);
      if (site == 0) break;
      stream.pop_back();
      const Tensor x = with_gradient(stream.back());
      Tensor z;
      {
        const at::AutoGradMode grad(true);
        z = model.sublayers[site - 1].forward(x);
      }
      g = gradient_of(z, x, g);
    }
    if (on_progress) {
      const auto done = static_cast<double>(window - first + ids.size(0));
      const double seconds = clock.seconds();
      on_progress({.phase = "gradients",
                   .step = window - first + ids.size(0),
                   .steps = windows,
                   .tokens_per_second =
                       seconds > 0 ? done * static_cast<double>(tokens.size(1)) / seconds : 0,
                   .seconds = seconds,
                   .eta = seconds / done * (static_cast<double>(windows) - done)});
    }
  }
  std::vector<Tensor> result;
  for (int64_t site = 0; site < sites; ++site) {
    const double per_token =
        1 / (scales[site] * scales[site] * static_cast<double>(tokens.numel()));
    try {
      result.push_back((sums[site].matrix(group) * per_token).cpu());
      sums[site] = Covariance(model.hidden_size);  // its memory is free for what follows
    } catch (const NumericError& error) {
      throw NumericError(fmt::format("gradient at site {}: {}", site, error.what()));
    }
  }
  return result;
}

}  // namespace slice
