#include "libslice/checkpoint/detail/script_layer.h"

#include <cmath>

#include "libslice/base/detail/formatted.h"
#include "libslice/model/families/family.h"

namespace slice::detail {

namespace {

class LayerSource {
 public:
  LayerSource(const ModelConfig& config, const ScriptScope::Shapes& shapes, int64_t layer)
      : c_(config),
        names_(models::family(config.family).names),
        layer_(layer),
        scope_(shapes, formatted("{}.{}.", names_.layers, layer)),
        inputs_(script_inputs(config, layer)) {}

  std::string text() {
    attend();
    feed_forward();
    forward();
    return std::move(text_);
  }

 private:
  template <typename... T>
  void line(fmt::format_string<T...> text, T&&... values) {
    text_ += "    " + formatted(text, std::forward<T>(values)...) + "\n";
  }
  void define(const std::string& name, const std::string& parameters) {
    text_ += formatted("def {}(self, {}) -> Tensor:\n", name, parameters);
  }

  /// The norm of the stream or of what is added to it.
  ScriptNorm stream_norm() const {
    return {c_.norm, c_.norm == NormKind::kLayer && !c_.sliced(), c_.hidden_size, c_.norm_eps};
  }

  /// Queries or keys: normed, turned, (B, heads, T, d).
  void heads(const char* x, const std::string& path, const std::string& norm_path, int64_t count) {
    const bool each = c_.head_norm == HeadNorm::kEach;
    const auto norm = [&](int64_t width) {
      line("{} = {}", x, scope_.norm(x, norm_path, {NormKind::kRms, false, width, c_.norm_eps}));
    };
    line("{} = {}", x, scope_.linear("n", path));
    if (c_.head_norm == HeadNorm::kAll) norm(count * c_.head_size);
    line("{} = {}.view([batch, length, {}, {}])", x, x, count, c_.head_size);
    if (each && !c_.norms_turned_heads) norm(c_.head_size);
    if (inputs_.turns) turn(x);
    if (each && c_.norms_turned_heads) norm(c_.head_size);
    line("{} = {}.transpose(1, 2)", x, x);
  }

  void turn(const char* x) {
    const int64_t r = c_.turning(layer_);
    line("u, w = {}[..., :{}], {}[..., {}:{}]", x, r / 2, x, r / 2, r);
    line("{} = torch.cat([u * cosine - w * sine, w * cosine + u * sine{}], 3).to(n.dtype)", x,
         r < c_.head_size ? formatted(", {}[..., {}:]", x, r) : std::string());
  }

  /// Each key/value head as often as queries share it.
  void repeat(const char* x) {
    const int64_t repeat = c_.heads / c_.kv_heads;
    if (repeat == 1) return;
    line(
        "{} = {}.unsqueeze(2).expand([batch, {}, {}, length, {}]).reshape([batch, {}, length, {}])",
        x, x, c_.kv_heads, repeat, c_.head_size, c_.heads, c_.head_size);
  }

  void attend() {
    define("attend", "n: Tensor" + inputs_.parameters());
    line("batch, length = n.size(0), n.size(1)");
    heads("q", names_.q, names_.q_norm, c_.heads);
    if (c_.query_growth) {
      line("at = torch.arange(length, dtype={}, device=n.device)", script_dtype(at::kDouble));
      line("growth = 1 + {} * torch.log1p(torch.floor(at / {}))",
           script_number(c_.query_growth->beta),
           script_number(static_cast<double>(c_.query_growth->period)));
      line("q = q * growth.to(q.dtype).unsqueeze(1)");
    }
    heads("k", names_.k, names_.k_norm, c_.kv_heads);
    line("v = {}.view([batch, length, {}, {}]).transpose(1, 2)", scope_.linear("n", names_.v),
         c_.kv_heads, c_.head_size);
    repeat("k");
    repeat("v");
    const double scale =
        c_.attention_scale.value_or(1 / std::sqrt(static_cast<double>(c_.head_size)));
    if (c_.attention_softcap > 0) {
      capped(scale);
    } else if (inputs_.windows) {
      line("out = torch.scaled_dot_product_attention(q, k, v, seen, 0.0, seen is None, scale={})",
           script_number(scale));
    } else {
      line("out = torch.scaled_dot_product_attention(q, k, v, None, 0.0, True, scale={})",
           script_number(scale));
    }
    line("return out.transpose(1, 2).reshape([batch, length, {}])", c_.heads * c_.head_size);
  }

  /// Scores with a soft cap.
  void capped(double scale) {
    const std::string cap = script_number(c_.attention_softcap);
    line("scores = torch.matmul(q, k.transpose(2, 3)) * {}", script_number(scale));
    line("scores = torch.tanh(scores / {}) * {}", cap, cap);
    const std::string all = formatted(
        "torch.ones([length, length], dtype={}, device=n.device).tril()", script_dtype(at::kBool));
    if (inputs_.windows) {
      line("if seen is None:");
      line("    visible = {}", all);
      line("else:");
      line("    visible = seen");
    } else {
      line("visible = {}", all);
    }
    line("scores = scores.masked_fill(torch.logical_not(visible), float(\"-inf\"))");
    line("out = torch.matmul(torch.softmax(scores, -1, dtype={}).to(n.dtype), v)",
         script_wide("n"));
  }

  void feed_forward() {
    define("feed_forward", "n: Tensor");
    line("up = {}", scope_.linear("n", names_.up));
    if (c_.activation == Activation::kXielu) {
      xielu();
    } else if (c_.gated_mlp) {
      line("gate = {}", scope_.linear("n", names_.gate));
      line("return {} * up", activated("gate"));
    } else {
      line("return {}", activated("up"));
    }
  }

  void xielu() {
    const auto constant = [&](const char* name) {
      return ScriptScope::member(names_.xielu + "." + name);
    };
    line("beta = {}", constant("beta"));
    line("a, c = torch.softplus({}), beta + torch.softplus({})", constant("alpha_p"),
         constant("alpha_n"));
    line("positive = a * up * up + beta * up");
    line("negative = (torch.expm1(torch.minimum(up, {})) - up) * c + beta * up", constant("eps"));
    line("return torch.where(up > 0, positive, negative)");
  }

  std::string activated(const char* x) const {
    switch (c_.activation) {
      case Activation::kSilu:
        return formatted("torch.silu({})", x);
      case Activation::kRelu:
        return formatted("torch.relu({})", x);
      case Activation::kRelu2:
        return formatted("torch.square(torch.relu({}))", x);
      case Activation::kGelu:
        return formatted("torch.gelu({})", x);
      case Activation::kXielu:
      case Activation::kGeluTanh:
        break;
    }
    return formatted("torch.gelu({}, approximate=\"tanh\")", x);
  }

  std::string attention_output(const char* normed) const {
    return scope_.linear(formatted("self.attend({}{})", normed, inputs_.arguments()), names_.o);
  }
  std::string mlp_output(const char* normed) const {
    return scope_.linear(formatted("self.feed_forward({})", normed), names_.down);
  }

  void forward() {
    define("forward", "x: Tensor" + inputs_.parameters());
    ScriptNorm before = stream_norm();
    if (c_.norm_place == NormPlace::kAfter) before.kind = NormKind::kNone;
    line("n = {}", scope_.norm("x", names_.attention_norm, before));
    if (c_.parallel_block) {
      line("r = {}", attention_output("n"));
      if (c_.branch_norms && !c_.sliced())
        line("n = {}", scope_.norm("x", names_.mlp_norm, before));
      line("r = r + {}", mlp_output("n"));
      add("block", "", layer_);
    } else {
      line("r = {}", attention_output("n"));
      add("attention", names_.attention_out_norm, 2 * layer_);
      line("n = {}", scope_.norm("x", names_.mlp_norm, before));
      line("r = {}", mlp_output("n"));
      add("mlp", names_.mlp_out_norm, 2 * layer_ + 1);
    }
    line("return x");
  }

  /// x ← shortcut(x) + out_norm(scale · r), after the sublayer at `site`.
  void add(const std::string& name, const std::string& out_norm, int64_t site) {
    if (c_.residual_scale != 1) line("r = r * {}", script_number(c_.residual_scale));
    if (c_.norms_outputs()) line("r = {}", scope_.norm("r", out_norm, stream_norm()));
    const std::string path = name + "_shortcut.", weight = path + "weight";
    const int64_t in = c_.stream_size(site), out = c_.stream_size(site + 1);
    const auto widened = [&](const std::string& x, int64_t width) {
      return width == out ? x : formatted("torch.constant_pad_nd({}, [0, {}])", x, out - width);
    };
    if (scope_.has(path + "up")) {
      line("x = {} + torch.linear(torch.linear(x, {}), {}) + r", widened("x", in),
           ScriptScope::member(path + "down"), ScriptScope::member(path + "up"));
    } else if (!scope_.has(weight)) {
      line("x = {} + r", widened("x", in));
    } else if (scope_.shape(weight).size() == 1) {
      const int64_t width = scope_.shape(weight)[0];
      const std::string kept = width == in ? "x" : formatted("x[..., :{}]", width);
      line("x = {} + r", widened(formatted("({} * {})", kept, ScriptScope::member(weight)), width));
    } else {
      line("x = torch.addmm(r.reshape([-1, {}]), x.reshape([-1, {}]), {}.t()).view(r.size())", out,
           in, ScriptScope::member(weight));
    }
  }

  const ModelConfig& c_;
  const models::Names& names_;
  int64_t layer_;
  ScriptScope scope_;
  ScriptInputs inputs_;
  std::string text_;
};

}  // namespace

std::string ScriptInputs::parameters() const {
  return std::string(turns ? ", cosine: Tensor, sine: Tensor" : "") +
         (windows ? ", seen: Optional[Tensor]" : "");
}

std::string ScriptInputs::arguments() const {
  return std::string(turns ? ", cosine, sine" : "") + (windows ? ", seen" : "");
}

ScriptInputs script_inputs(const ModelConfig& config, int64_t layer) {
  return {config.turning(layer) > 0, config.window(layer) > 0};
}

std::string script_layer(const ModelConfig& config, const ScriptScope::Shapes& shapes,
                         int64_t layer) {
  return LayerSource(config, shapes, layer).text();
}

}  // namespace slice::detail
