#include "libslice/decode/logit_rules.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"

namespace slice {

using at::Tensor;

bool LogitRules::any() const {
  return !bias.empty() || repetition_penalty != 1 || presence_penalty != 0 ||
         frequency_penalty != 0 || min_p > 0 || top_k > 0;
}

void check_rules(const LogitRules& rules, int64_t vocabulary) {
  for (const auto& [id, bias] : rules.bias) {
    SLICE_ARGUMENT_CHECK(id >= 0 && id < vocabulary, "logit bias: want ids in [0, {}), got {}",
                         vocabulary, id);
    SLICE_ARGUMENT_CHECK(std::isfinite(bias), "logit bias of {}: want a number, got {}", id, bias);
  }
  SLICE_ARGUMENT_CHECK(std::isfinite(rules.repetition_penalty) && rules.repetition_penalty > 0,
                       "repetition penalty: want a number above 0, got {}",
                       rules.repetition_penalty);
  SLICE_ARGUMENT_CHECK(std::isfinite(rules.presence_penalty),
                       "presence penalty: want a number, got {}", rules.presence_penalty);
  SLICE_ARGUMENT_CHECK(std::isfinite(rules.frequency_penalty),
                       "frequency penalty: want a number, got {}", rules.frequency_penalty);
  SLICE_ARGUMENT_CHECK(rules.min_p >= 0 && rules.min_p <= 1,
                       "min-p: want a value in [0, 1], got {}", rules.min_p);
  SLICE_ARGUMENT_CHECK(rules.top_k >= 0, "top-k: want at least 0, got {}", rules.top_k);
}

TokenCounts::TokenCounts(std::span<const int64_t> prompt) {
  for (const int64_t id : prompt) counts_.emplace(id, 0);
}

double lowest_logit(at::ScalarType type) {
  if (type == at::kHalf) return static_cast<double>(std::numeric_limits<at::Half>::lowest());
  if (type == at::kBFloat16)
    return static_cast<double>(std::numeric_limits<at::BFloat16>::lowest());
  return static_cast<double>(std::numeric_limits<float>::lowest());
}

namespace {

void check_logits(const Tensor& logits) {
  SLICE_CHECK(logits.dim() == 1 && logits.numel() > 0, "logit rules: want logits (V), got {}",
              detail::describe(logits));
}

/// Numbers of the host on the device of the logits.
Tensor on_device_of(const Tensor& logits, const Tensor& host) {
  return host.to(logits.device(), /*non_blocking=*/true);
}

/// Changes some logits, in float32 at least; none falls below the lowest.
template <typename Change>
void change_at(const Tensor& logits, const std::vector<int64_t>& ids, Change&& change) {
  const Tensor places = on_device_of(logits, at::tensor(ids, at::kLong));  // (n)
  const at::ScalarType wide = at::promote_types(logits.scalar_type(), at::kFloat);
  const Tensor changed = change(logits.index_select(0, places).to(wide));  // (n)
  const double lowest = lowest_logit(logits.scalar_type());
  logits.index_copy_(0, places, changed.clamp(lowest, -lowest).to(logits.scalar_type()));
}

void add_bias(const Tensor& logits, const std::map<int64_t, double>& bias) {
  std::vector<int64_t> ids;
  std::vector<double> values;
  for (const auto& [id, value] : bias) {
    ids.push_back(id);
    values.push_back(value);
  }
  change_at(logits, ids, [&](const Tensor& l) {
    return l + on_device_of(logits, at::tensor(values, l.options().device(at::kCPU)));
  });
}

void penalize(const Tensor& logits, const LogitRules& rules, const TokenCounts& counts) {
  std::vector<int64_t> ids;
  std::vector<double> falls;  // by how much each falls
  for (const auto& [id, count] : counts.counts()) {
    ids.push_back(id);
    falls.push_back(rules.frequency_penalty * static_cast<double>(count) +
                    (count > 0 ? rules.presence_penalty : 0));
  }
  if (ids.empty()) return;
  change_at(logits, ids, [&](const Tensor& l) {
    const double r = rules.repetition_penalty;
    const Tensor repeated = r == 1 ? l : at::where(l > 0, l / r, l * r);
    return repeated - on_device_of(logits, at::tensor(falls, l.options().device(at::kCPU)));
  });
}

}  // namespace

void penalize_inplace(Tensor logits, const LogitRules& rules, const TokenCounts& counts) {
  check_logits(logits);
  const at::NoGradGuard no_grad;
  if (!rules.bias.empty()) add_bias(logits, rules.bias);
  if (rules.repetition_penalty != 1 || rules.presence_penalty != 0 || rules.frequency_penalty != 0)
    penalize(logits, rules, counts);
}

void truncate_inplace(Tensor logits, const LogitRules& rules, double temperature) {
  check_logits(logits);
  const at::NoGradGuard no_grad;
  if (temperature == 0) return;
  const double lowest = lowest_logit(logits.scalar_type());
  if (rules.min_p > 0) {
    const at::ScalarType wide = at::promote_types(logits.scalar_type(), at::kFloat);
    const Tensor least = logits.max().to(wide) + temperature * std::log(rules.min_p);  // ()
    logits.masked_fill_(logits.to(wide) < least, lowest);
  }
  if (rules.top_k > 0 && rules.top_k < logits.numel()) {
    const Tensor least = std::get<0>(logits.topk(rules.top_k)).min();  // ()
    logits.masked_fill_(logits < least, lowest);
  }
}

void allow_only_inplace(Tensor logits, const Tensor& allowed) {
  SLICE_CHECK(logits.dim() == 1 && allowed.sizes() == logits.sizes(),
              "allowed tokens: want as many as logits (V), got {} for {}",
              detail::describe(allowed), detail::describe(logits));
  const at::NoGradGuard no_grad;
  logits.masked_fill_(on_device_of(logits, allowed).logical_not(),
                      lowest_logit(logits.scalar_type()));
}

}  // namespace slice
