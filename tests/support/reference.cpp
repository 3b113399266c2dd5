#include "tests/support/reference.h"

#include <ATen/ATen.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <complex>

namespace slice::tests {

using at::Tensor;

namespace {

Tensor wide(const Tensor& x) { return x.detach().to(at::kDouble).contiguous(); }

/// x Wᵀ + b, with the bias where the model has one.
Tensor linear(const Weights& weights, const std::string& name, const Tensor& x) {
  const Tensor y = x.mm(weights.at(name + ".weight").t());
  const auto bias = weights.find(name + ".bias");
  return bias == weights.end() ? y : y + bias->second;
}

Tensor weighted_norm(const ModelConfig& c, const Weights& weights, const std::string& name,
                     const Tensor& x) {
  return rms_norm_reference(x, c.hidden_size, c.norm_eps) * weights.at(name + ".weight");
}

Tensor attention_part(const ModelConfig& c, const Weights& weights, const std::string& layer,
                      const Tensor& x) {
  const int64_t T = x.size(0);
  const Tensor n = weighted_norm(c, weights, layer + "input_layernorm", x);
  const auto heads = [&](const std::string& name, int64_t count) {
    return linear(weights, layer + "self_attn." + name, n).view({1, T, count, c.head_size});
  };
  const Tensor q = rotary_reference(heads("q_proj", c.heads), 0, c.rope_theta)[0];
  const Tensor k = rotary_reference(heads("k_proj", c.kv_heads), 0, c.rope_theta)[0];
  const Tensor v = heads("v_proj", c.kv_heads)[0];
  return linear(weights, layer + "self_attn.o_proj", attention_reference(q, k, v));
}

Tensor mlp_part(const ModelConfig& c, const Weights& weights, const std::string& layer,
                const Tensor& x) {
  const Tensor n = weighted_norm(c, weights, layer + "post_attention_layernorm", x);
  const Tensor gate = linear(weights, layer + "mlp.gate_proj", n);
  const Tensor up = linear(weights, layer + "mlp.up_proj", n);
  return linear(weights, layer + "mlp.down_proj", gate / (1 + (-gate).exp()) * up);
}

}  // namespace

Tensor rms_norm_reference(const Tensor& x, int64_t D, double eps) {
  const Tensor in = wide(x);
  Tensor out = at::empty_like(in);
  const int64_t k = in.size(-1), rows = k == 0 ? 0 : in.numel() / k;
  for (int64_t row = 0; row < rows; ++row) {
    const double* from = in.const_data_ptr<double>() + row * k;
    double* to = out.mutable_data_ptr<double>() + row * k;
    double squares = 0;
    for (int64_t i = 0; i < k; ++i) squares += from[i] * from[i];
    const double root = std::sqrt(squares / static_cast<double>(D) + eps);
    for (int64_t i = 0; i < k; ++i) to[i] = from[i] / root;
  }
  return out;
}

Tensor rotary_reference(const Tensor& x, int64_t first, double theta) {
  const Tensor in = wide(x);
  Tensor out = at::empty_like(in);
  const auto from = in.accessor<double, 4>();
  auto to = out.accessor<double, 4>();
  const int64_t d = in.size(3);
  for (int64_t b = 0; b < in.size(0); ++b) {
    for (int64_t t = 0; t < in.size(1); ++t) {
      for (int64_t h = 0; h < in.size(2); ++h) {
        for (int64_t i = 0; i < d / 2; ++i) {
          const double frequency =
              std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
          const auto turn = std::polar(1.0, static_cast<double>(first + t) * frequency);
          const auto turned =
              std::complex<double>(from[b][t][h][i], from[b][t][h][i + d / 2]) * turn;
          to[b][t][h][i] = turned.real();
          to[b][t][h][i + d / 2] = turned.imag();
        }
      }
    }
  }
  return out;
}

Tensor attention_reference(const Tensor& q, const Tensor& k, const Tensor& v) {
  const Tensor queries = wide(q), keys = wide(k), values = wide(v);
  const int64_t T = q.size(0), heads = q.size(1), d = q.size(2), share = heads / k.size(1);
  Tensor out = at::zeros({T, heads, d}, at::kDouble);
  const auto Q = queries.accessor<double, 3>(), K = keys.accessor<double, 3>(),
             V = values.accessor<double, 3>();
  auto to = out.accessor<double, 3>();
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < T; ++t) {
      std::vector<double> score(t + 1, 0.0);
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < d; ++i)
          score[s] += Q[t][h][i] * K[s][h / share][i] / std::sqrt(static_cast<double>(d));
      }
      const double highest = *std::max_element(score.begin(), score.end());
      double total = 0;
      for (double& s : score) total += s = std::exp(s - highest);
      for (int64_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < d; ++i) to[t][h][i] += score[s] / total * V[s][h / share][i];
      }
    }
  }
  return out.view({T, heads * d});
}

Weights weights_of(const torch::nn::Module& module) {
  Weights weights;
  for (const auto& parameter : module.named_parameters())
    weights[parameter.key()] = wide(parameter.value()).clone();
  return weights;
}

Tensor sublayer_reference(const ModelConfig& config, const Weights& weights, int64_t site,
                          const Tensor& x) {
  const std::string layer = fmt::format("model.layers.{}.", site / 2);
  return x + (site % 2 == 0 ? attention_part(config, weights, layer, x)
                            : mlp_part(config, weights, layer, x));
}

Tensor logits_reference(const ModelConfig& config, const Weights& weights, const Tensor& ids,
                        const std::vector<Tensor>& projectors) {
  const auto project = [&](int64_t site, const Tensor& z) {
    return projectors.empty() ? z : z.mm(projectors[site]);
  };
  const int64_t last = 2 * config.layers;
  Tensor x = project(0, weights.at("model.embed_tokens.weight").index_select(0, ids));  // (T, D)
  for (int64_t site = 0; site < last; ++site) {
    x = project(site + 1, sublayer_reference(config, weights, site, x));
  }
  const Tensor n = weighted_norm(config, weights, "model.norm", x);
  return n.mm(weights.at(config.tied_head ? "model.embed_tokens.weight" : "lm_head.weight").t());
}

BookSlicing slice_by_the_book(const ModelConfig& config, const Weights& weights,
                              const Tensor& tokens, const std::vector<int64_t>& sizes) {
  BookSlicing result;
  std::vector<Tensor> windows;  // the stream of every window, (T, D)
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    windows.push_back(weights.at("model.embed_tokens.weight").index_select(0, tokens[i]));
  }
  const int64_t D = config.hidden_size, last = 2 * config.layers;
  for (int64_t site = 0; site <= last; ++site) {
    Tensor C = at::zeros({D, D}, at::kDouble);
    for (const Tensor& z : windows) C += z.t().mm(z);
    const auto [values, vectors] = at::linalg_eigh(C);  // ascending
    const int64_t k = sizes[site];
    const Tensor P = vectors.slice(1, D - k, D);  // (D, k)
    result.projectors.push_back(k == D ? at::eye(D, at::kDouble) : P.mm(P.t()));
    result.kept_variance.push_back((values.slice(0, D - k, D).sum() / values.sum()).item<double>());
    if (k < D) {
      const Tensor gap = (values[D - k] - values[D - k - 1]) / values[D - 1];
      result.smallest_gap = std::min(result.smallest_gap, gap.item<double>());
    }
    for (Tensor& z : windows) {
      z = z.mm(result.projectors.back());
      if (site < last) z = sublayer_reference(config, weights, site, z);
    }
  }
  return result;
}

}  // namespace slice::tests
