#include "libslice/slicing/detail/recovery.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "libslice/base/detail/formatted.h"
#include "libslice/base/error.h"
#include "libslice/device/detail/backward_here.h"
#include "libslice/device/detail/memory.h"
#include "libslice/device/detail/ops_cuda.h"
#include "libslice/device/detail/tf32.h"
#include "libslice/method/window_share.h"

namespace slice::detail {

using at::Tensor;

namespace {

/// Root mean square of a coordinate's error as it is propagated: half precision has room for it and
/// for its sums over tokens.
constexpr double kErrorSize = 1.0 / 256;

/// What an error costs in any direction, in units of the mean over directions.
constexpr double kEvenShare = 0.1;

/// What is left of the rate where the error rose.
constexpr double kSlower = 0.25;

double root_mean_square(const Tensor& weight) {
  return weight.to(at::kDouble).square().mean().sqrt().item<double>();
}

/// M, of which an error e costs e M eᵀ:  Pᵀ Γ P of mean diagonal 1, and a share of I beside it.
Tensor metric_of(const Tensor& Gamma, const Tensor& P) {
  Tensor M = P.defined() ? P.t().mm(Gamma.mm(P)) : Gamma.clone();
  const double mean = M.diagonal().mean().item<double>();
  if (mean > 0) M.div_(mean);
  M.diagonal().add_(kEvenShare);
  return M;
}

/// Zeros where a product overflowed in half precision.
Tensor finite(const Tensor& gradient, at::ScalarType wide) {
  const Tensor g = gradient.to(wide);
  return gradient.scalar_type() == at::kHalf ? at::nan_to_num(g, 0.0, 0.0, 0.0) : g;
}

}  // namespace

Recovery::Recovery(RecoveryTask task)
    : task_(std::move(task)),
      wide_(at::promote_types(task_.x.dtype(), at::kFloat)),
      piece_(static_cast<size_t>(settings_.windows)) {
  if (task_.P.defined()) basis_ = task_.P.to(wide_);
  if (task_.Gamma.defined()) metric_ = metric_of(task_.Gamma, task_.P).to(wide_);
  for (const Branch& branch : task_.sublayer.branches) {
    const double speed = branch.channels ? settings_.channels : 1;
    for (const LinearRef& reader : branch.readers) add(reader, speed);
    add(branch.writer, speed);
  }
  for (const WindowPart& part : task_.parts.fit)
    window_weights_.resize(window_weights_.size() + static_cast<size_t>(part.end - part.begin),
                           task_.weights[part.text]);
  fitted_ = std::llround(task_.group.sum(static_cast<double>(window_weights_.size())));
  first_ = window_share(fitted_, task_.x.window_tokens(), task_.group).first;
}

void Recovery::add(const LinearRef& linear, double speed) {
  const double inputs = static_cast<double>(linear.weight.size(1)),
               scale = speed * root_mean_square(linear.weight) / std::sqrt(inputs);
  for (Tensor parameter : {linear.weight, linear.bias}) {  // a bias as the weight of an input of 1
    if (!parameter.defined()) continue;
    const Tensor begin = parameter.variable_data();
    weights_.push_back({parameter, begin, parameter.requires_grad(), AdamState(begin, scale)});
    parameter.set_data(begin.clone());
    parameter.requires_grad_(true);
  }
}

Recovery::~Recovery() {
  for (Weight& weight : weights_) weight.parameter.requires_grad_(weight.differentiated);
}

double Recovery::train() {
  const Tf32Scope tf32(task_.tf32 || wide_ != task_.x.dtype());
  if (!scale_to_error()) return 1;
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(task_.seed);
  double best = 1, last = 1;
  int64_t taken = 0;
  bool slowed = false;
  for (int64_t epoch = 0; epoch < task_.epochs; ++epoch) {
    const std::vector<Step> steps = shuffled(random);
    for (const Step& step : steps)
      take(step, step_share(taken++, task_.epochs * std::ssize(steps), settings_.warmup));
    const double now = share_of(squares());
    if (now < best) {
      best = now;
      for (Weight& weight : weights_) weight.best = weight.parameter.variable_data().clone();
    } else if (!(now <= last)) {
      if (std::exchange(slowed, true)) break;
      back_off();
    }
    last = now < last ? now : best;
  }
  for (Weight& weight : weights_) {
    weight.parameter.set_data(weight.best);
    weight.adam.reset();
  }
  return best;
}

void Recovery::back_off() {
  settings_.rate *= kSlower;
  for (Weight& weight : weights_) {
    weight.adam = AdamState(weight.best, weight.adam->scale);
    weight.parameter.copy_(weight.best);
  }
}

double Recovery::share() {
  const Tf32Scope tf32(task_.tf32 || wide_ != task_.x.dtype());
  return share_of(squares());
}

bool Recovery::scale_to_error() {
  before_ = squares();
  double error = 0, wanted = 0;
  for (const Squares& text : before_) {
    error += text.error / static_cast<double>(before_.size());
    wanted += text.wanted / static_cast<double>(before_.size());
  }
  if (!(error > 0 && wanted > 0 && std::isfinite(error / wanted))) return false;
  error_scale_ = std::exp2(std::round(std::log2(kErrorSize / std::sqrt(error))));
  settings_.rate *= std::pow(error / wanted, 0.25);
  return true;
}

double Recovery::share_of(const std::vector<Squares>& now) const {
  double worst = 0;
  for (size_t text = 0; text < now.size(); ++text) {
    const double share = now[text].error / before_[text].error;
    if (!std::isfinite(share)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, share);
  }
  return worst;
}

std::vector<Recovery::Squares> Recovery::squares() {
  std::vector<Squares> means;
  for (const WindowPart& part : task_.parts.choose) {
    std::vector<Tensor> sums;  // (2, n), of every window: chunks may have any size
    const auto see = [&](const Tensor& x, const Tensor& z) {
      const Tensor target = wanted(x, z), e = task_.sublayer.written(x).to(wide_) - target;
      const auto summed = [](const Tensor& squares) {
        return squares.sum({1, 2}, /*keepdim=*/false, at::kDouble);
      };
      sums.push_back(at::stack({summed(weighed(e) * e), summed(target.square())}));
      task_.passed(x.size(0) * x.size(1));
    };
    if (part.begin < part.end) task_.x.visit_beside(task_.dense, part.begin, part.end, see);
    Tensor all = at::zeros({2}, at::kDouble);
    if (!sums.empty()) all = at::cat(sums, 1).sum(1).cpu();
    const int64_t coordinates = task_.sublayer.branches[0].writer.weight.size(0);
    const double windows = task_.group.sum(static_cast<double>(part.end - part.begin)),
                 count = windows * static_cast<double>(task_.x.window_tokens() * coordinates);
    means.push_back({task_.group.sum(all[0].item<double>()) / count,
                     task_.group.sum(all[1].item<double>()) / count});
  }
  return means;
}

Tensor Recovery::wanted(const Tensor& x, const Tensor& z) const {
  Tensor target = z.to(wide_);  // (n, T, D)
  if (basis_.defined()) target = at::matmul(target, basis_);
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = target.size(-1);
  return target - task_.sublayer.shortcut->forward(x, at::zeros(shape, x.options()));
}

Tensor Recovery::weighed(const Tensor& error) const {
  return metric_.defined() ? at::matmul(error, metric_) : error;
}

std::vector<Recovery::Step> Recovery::shuffled(at::Generator& random) const {
  const int64_t strata = std::min(settings_.windows, fitted_);
  std::vector<Step> steps((fitted_ + strata - 1) / strata);
  const auto own = std::ssize(window_weights_);
  for (int64_t stratum = 0; stratum < strata; ++stratum) {
    const int64_t begin = stratum * fitted_ / strata, end = (stratum + 1) * fitted_ / strata;
    const Tensor order = at::randperm(end - begin, random, at::kLong);
    for (int64_t i = 0; i < end - begin; ++i) {
      const int64_t window = begin + order.const_data_ptr<int64_t>()[i] - first_;
      if (window >= 0 && window < own) steps[i].own.push_back(window);
      ++steps[i].all;
    }
  }
  return steps;
}

void Recovery::take(const Step& step, double size) {
  std::vector<Tensor> sums = gradients(step);
  task_.group.together([&] {
    for (Tensor& sum : sums) task_.group.sum_inplace(sum);
  });
  for (size_t i = 0; i < weights_.size(); ++i) {
    adam_step_inplace(*weights_[i].adam, sums[i], size, settings_);
    weights_[i].parameter.copy_(weights_[i].adam->master);
  }
}

std::vector<Tensor> Recovery::gradients(const Step& step) {
  std::vector<Tensor> sums;
  const double scale = error_scale_ / static_cast<double>(step.all);
  const int64_t* own = step.own.data();
  for (size_t begin = 0; begin < step.own.size();) {
    const size_t end = std::min(begin + piece_, step.own.size());
    try {
      std::vector<Tensor> some = gradients({own + begin, own + end}, scale);
      for (size_t i = 0; i < sums.size(); ++i) sums[i].add_(some[i]);
      if (sums.empty()) sums = std::move(some);
    } catch (const c10::Error& error) {
      if (!is_out_of_memory(error)) throw;
      if (end - begin == 1)
        throw DeviceError(formatted("no memory to train on one window of {} tokens: {}",
                                    task_.x.window_tokens(), first_sentence(error)));
      ops::on_device::release_cached_memory();
      piece_ = (end - begin) / 2;
      continue;
    }
    constexpr int64_t kBackward = 2;  // forward passes that the gradients take the time of
    task_.passed((1 + kBackward) * static_cast<int64_t>(end - begin) * task_.x.window_tokens());
    begin = end;
  }
  for (size_t i = sums.size(); i < weights_.size(); ++i)  // no window of the step is this rank's
    sums.push_back(at::zeros_like(weights_[i].adam->master));
  return sums;
}

std::vector<Tensor> Recovery::gradients(const std::vector<int64_t>& windows, double scale) const {
  const auto gathered = [&](const Signal& signal) {
    std::vector<Tensor> rows;
    Tensor all;
    for (size_t i = 0; i < windows.size(); ++i) {
      const Tensor one = signal.rows(windows[i], windows[i] + 1);  // (1, T, width)
      if (!all.defined())
        all = at::empty({std::ssize(windows), one.size(1), one.size(2)}, one.options());
      all.select(0, static_cast<int64_t>(i)).copy_(one[0]);
    }
    return all;
  };
  const Tensor x = gathered(task_.x), z = gathered(task_.dense);  // (n, T, k), (n, T, D)
  const Tensor target = wanted(x, z);                             // (n, T, k')
  Tensor y;
  {
    const at::AutoGradMode grad(true);
    y = task_.sublayer.written(x);  // (n, T, k')
  }
  Tensor e = weighed(y.detach().to(wide_) - target);
  for (size_t i = 0; i < windows.size(); ++i)
    e.select(0, static_cast<int64_t>(i)).mul_(scale * window_weights_[windows[i]]);
  std::vector<Tensor> inputs, sums;
  for (const Weight& weight : weights_) inputs.push_back(weight.parameter);
  const BackwardHere here;
  for (const Tensor& gradient : torch::autograd::grad({y}, inputs, {e.to(y.scalar_type())}))
    sums.push_back(finite(gradient, wide_));
  return sums;
}

}  // namespace slice::detail
