#include "libslice/method/gradient.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/finite.h"
#include "libslice/base/detail/stopwatch.h"
#include "libslice/device/detail/backward_here.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/detail/ops_cuda.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/device/device.h"
#include "libslice/method/covariance.h"
#include "libslice/method/signal.h"
#include "libslice/method/window_share.h"

namespace slice {

using at::Tensor;

namespace {

/// Forward passes of a sublayer that its gradients take the time of.
constexpr int64_t kBackward = 3;
/// Tokens whose logits are in memory together.
constexpr int64_t kHeadTokens = 1024;

Tensor with_gradient(const Tensor& x) { return x.detach().requires_grad_(true); }

Tensor gradient_of(const Tensor& y, const Tensor& x, const Tensor& grad_y) {
  const detail::BackwardHere here;
  return torch::autograd::grad({y}, {x}, {grad_y})[0];
}

/// Gradients of the loss before the head: that of the logits is p − onehot(y), y ~ p.
///
/// @param x  one window, (T, D) → (T, D) float32 at least
Tensor gradient_at_head(const ModelAdapter& model, const Tensor& x, at::Generator& random) {
  std::vector<Tensor> gradients;
  for (const Tensor& rows : x.split(kHeadTokens)) {
    const Tensor leaf = with_gradient(rows);
    Tensor logits;
    {
      const at::AutoGradMode grad(true);
      logits = model.logit_form(
          at::linear(model.final_norm->forward(leaf), model.head.weight, model.head.bias));
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

/// The seed of a window's targets; that of the first is the seed itself.
uint64_t seed_of(uint64_t seed, int64_t window) {
  constexpr uint64_t kGoldenRatio = 0x9E3779B97F4A7C15;  // of 2⁶⁴, odd: no two windows share a seed
  return seed + kGoldenRatio * static_cast<uint64_t>(window);
}

/// Windows of a batch: on a device as many as a third of its free memory holds with their signal at
/// every site of a run and one sublayer's graph, up to kMostTokens; one on the CPU.
int64_t batch_windows(const ModelAdapter& model, int64_t sublayers, int64_t window_tokens) {
  constexpr int64_t kMostTokens = 32768, kGraph = 30;  // signals that a sublayer's graph amounts to
  const at::Device device = model.head.weight.device();
  if (!device.is_cuda()) return 1;
  const int64_t token_bytes =
      (sublayers + kGraph) * model.hidden_size * model.head.weight.element_size();
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

/// A run of sublayers whose weights are held together, first … last − 1. Its sites are those after
/// its sublayers; the first run has the embeddings' as well.
struct Run {
  int64_t first, last;
  int64_t first_site() const { return first == 0 ? 0 : first + 1; }
};

std::vector<Run> runs_of(int64_t sublayers, int64_t most) {
  std::vector<Run> runs;
  for (int64_t first = 0; first < sublayers; first += most)
    runs.push_back({first, std::min(first + most, sublayers)});
  return runs;
}

/// Γ of a site as it is summed, in the windows' order. A batch that is tried again in pieces adds
/// only what the site does not have yet.
struct SiteSum {
  explicit SiteSum(int64_t width) : sum(width) {}

  /// @param g  (n, T, D) of the windows from `begin` on     @param weights  of all windows
  void accumulate(const Tensor& g, int64_t begin, const std::vector<double>& weights) {
    const int64_t end = begin + g.size(0);
    while (windows < end) {
      int64_t next = windows + 1;
      while (next < end && weights[next] == weights[windows]) ++next;
      sum.set_weight(weights[windows]);
      sum.accumulate(g.slice(0, windows - begin, next - begin));
      windows = next;
    }
  }

  Covariance sum;
  int64_t windows = 0;  // in it
};

/// One computation of gradient_covariances: its state.
class Gradients {
 public:
  Gradients(const ModelAdapter& model, const CalibrationWindows& windows, uint64_t seed,
            const OnProgress& on_progress, const ProcessGroup& group, const HeldWeights& weights,
            bool tf32)
      : model_(model),
        tokens_(detail::share_of_windows(windows.tokens(), group)),
        all_tokens_(windows.tokens().numel()),
        first_window_(detail::window_share(windows.tokens().size(0), tokens_.size(1), group).first),
        window_weights_(windows.window_weights(first_window_, tokens_.size(0))),
        seed_(seed),
        on_progress_(on_progress),
        group_(group),
        weights_(weights),
        sublayers_(std::ssize(model.sublayers)),
        runs_(runs_of(sublayers_, weights.sublayers > 0 ? weights.sublayers : sublayers_)),
        fronts_(runs_.size()),
        random_(at::globalContext().defaultGenerator(model.head.weight.device()).clone()),
        scales_(sublayers_ + 1, 0),
        result_(sublayers_ + 1),
        tf32_(tf32) {}

  std::vector<Tensor> covariances() {
    for (size_t i = 0; i + 1 < runs_.size(); ++i) forwards(i);
    for (size_t i = runs_.size(); i-- > 0;) backwards(i);
    return std::move(result_);
  }

 private:
  /// The signal after a run, for the next one.
  void forwards(size_t i) {
    hold(runs_[i]);
    in_batches(runs_[i], [&](int64_t begin, int64_t end) {
      Tensor x = front(i, begin, end);
      for (int64_t s = runs_[i].first; s < runs_[i].last; ++s) {
        x = model_.sublayers[s].forward(x);
        report(end - begin, s + 1 - runs_[i].first, runs_[i].last - runs_[i].first);
      }
      keep(fronts_[i + 1], begin, end, x);
    });
  }

  void backwards(size_t i) {
    const Run& run = runs_[i];
    hold(run);
    std::vector<SiteSum> sums(run.last + 1 - run.first_site(), SiteSum(model_.hidden_size));
    in_batches(run, [&](int64_t begin, int64_t end) {
      std::vector<Tensor> signal = {front(i, begin, end)};  // (n, T, D), at every site
      const int64_t all = (1 + kBackward) * (run.last - run.first);
      for (int64_t s = run.first; s < run.last; ++s) {
        signal.push_back(model_.sublayers[s].forward(signal.back()));
        report(end - begin, s + 1 - run.first, all);
      }
      const bool last = run.last == sublayers_;
      Tensor g = last ? at_head(signal.back(), begin) : rows(after_, begin, end);  // (n, T, D)
      double scale = last ? 1 : scales_[run.last + 1];
      for (int64_t site = run.last; site >= run.first_site(); --site) {
        if (scales_[site] == 0) scales_[site] = group_.copy_from(0, scale * balance(g));
        g = (g * (scales_[site] / scale)).to(signal.back().scalar_type());
        scale = scales_[site];
        sums[site - run.first_site()].accumulate(g, begin, window_weights_);
        if (site == 0) return;
        signal.pop_back();
        const Tensor x = with_gradient(signal.back());
        Tensor z;
        {
          const at::AutoGradMode grad(true);
          z = model_.sublayers[site - 1].forward(x);
        }
        g = gradient_of(z, x, g);
        report(end - begin, all - kBackward * (site - 1 - run.first), all);
      }
      keep(after_, begin, end, g);
    });
    fronts_[i] = Tensor();
    for (int64_t site = run.first_site(); site <= run.last; ++site)
      result_[site] = per_token(sums[site - run.first_site()].sum, site);
  }

  void hold(const Run& run) const {
    if (!weights_.hold) return;
    weights_.hold(run.first == 0 ? 0 : run.first + 1,
                  run.last == sublayers_ ? sublayers_ + 1 : run.last);
  }

  /// A batch for which the device has no memory is tried again in halves, and batches stay small
  /// from then on: memory that counts as free may lie in pieces.
  template <typename Step>
  void in_batches(const Run& run, Step&& step) {
    const int64_t batch = batch_windows(model_, run.last - run.first, tokens_.size(1));
    for (int64_t begin = 0; begin < tokens_.size(0);) {
      const int64_t end = std::min(begin + std::min(batch, most_windows_), tokens_.size(0));
      try {
        step(begin, end);
      } catch (const c10::Error& error) {
        if (!detail::is_out_of_memory(error)) throw;
        SLICE_CHECK_AS(DeviceError, end - begin > 1,
                       "no memory for the gradients of one window of {} tokens: {}",
                       tokens_.size(1), detail::first_sentence(error));
        ops::on_device::release_cached_memory();
        most_windows_ = (end - begin) / 2;
        continue;
      }
      passed_ += end - begin;
      begin = end;
      report();
    }
  }

  Tensor front(size_t i, int64_t begin, int64_t end) const {
    return i == 0 ? model_.embed(tokens_.slice(0, begin, end)) : rows(fronts_[i], begin, end);
  }
  Tensor rows(const Tensor& kept, int64_t begin, int64_t end) const {
    return kept.slice(0, begin, end).to(model_.head.weight.device());
  }
  void keep(Tensor& kept, int64_t begin, int64_t end, const Tensor& value) const {
    if (!kept.defined()) {
      kept = at::empty({tokens_.size(0), value.size(1), value.size(2)},
                       value.options().device(at::kCPU));
    }
    kept.slice(0, begin, end).copy_(value);
  }

  /// @param x  (n, T, D) of the windows from `begin` on
  Tensor at_head(const Tensor& x, int64_t begin) {
    std::vector<Tensor> windows;
    for (int64_t i = 0; i < x.size(0); ++i) {
      random_.set_current_seed(seed_of(seed_, first_window_ + begin + i));
      windows.push_back(gradient_at_head(model_, x[i], random_));
    }
    return at::stack(windows);
  }

  Tensor per_token(Covariance& sum, int64_t site) const {
    const double tokens = scales_[site] * scales_[site] * static_cast<double>(all_tokens_);
    try {
      const Tensor result = (sum.matrix(group_) * (1 / tokens)).cpu();
      sum = Covariance(model_.hidden_size);  // gives its memory back
      return result;
    } catch (const NumericError& error) {
      const std::string name = site < sublayers_ ? model_.sublayers[site].name : "head";
      throw NumericError(detail::formatted("gradient before {}: {}", name, error.what()));
    }
  }

  /// Counts windows in full; the batch under way is seen in the estimate.
  /// @param windows  of that batch    @param made, passes  of its sublayers, until now and in all
  void report(int64_t windows = 0, int64_t made = 0, int64_t passes = 1) const {
    if (!on_progress_) return;
    const int64_t steps = tokens_.size(0) * (2 * std::ssize(runs_) - 1);
    const double seconds = clock_.seconds(),
                 done = static_cast<double>(passed_) +
                        static_cast<double>(windows * made) / static_cast<double>(passes);
    on_progress_({.phase = "gradients",
                  .step = passed_,
                  .steps = steps,
                  .tokens_per_second =
                      seconds > 0 ? done * static_cast<double>(tokens_.size(1)) / seconds : 0,
                  .seconds = seconds,
                  .eta = seconds / done * (static_cast<double>(steps) - done)});
  }

  const ModelAdapter& model_;
  const Tensor tokens_;  // of this rank
  const int64_t all_tokens_, first_window_;
  const std::vector<double> window_weights_;
  const uint64_t seed_;
  const OnProgress& on_progress_;
  const ProcessGroup& group_;
  const HeldWeights& weights_;
  const int64_t sublayers_;
  const std::vector<Run> runs_;
  std::vector<Tensor> fronts_;  // the signal before each run but the first, on the host
  Tensor after_;                // the gradient after the run that comes next, on the host
  at::Generator random_;
  std::vector<double> scales_;  // of each site's gradients; the first batch says which
  std::vector<Tensor> result_;
  const detail::Stopwatch clock_;
  const detail::Tf32Scope tf32_;  // its rounding is far below the noise of one target a token
  int64_t passed_ = 0, most_windows_ = std::numeric_limits<int64_t>::max();
};

}  // namespace

std::vector<Tensor> gradient_covariances(const ModelAdapter& model,
                                         const CalibrationWindows& windows, uint64_t seed,
                                         const OnProgress& on_progress, const ProcessGroup& group,
                                         const HeldWeights& weights, bool tf32) {
  Signal::check_tokens(windows.tokens());
  const at::NoGradGuard no_grad;
  return Gradients(model, windows, seed, on_progress, group, weights, tf32).covariances();
}

}  // namespace slice
