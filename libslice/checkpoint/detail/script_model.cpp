#include "libslice/checkpoint/detail/script_model.h"

#include <optional>

#include "libslice/base/detail/formatted.h"
#include "libslice/checkpoint/detail/script_layer.h"
#include "libslice/model/families/family.h"
#include "libslice/model/rotary.h"

namespace slice::detail {

namespace {

/// The rotary positions of some layers.
struct Turns {
  std::string prefix;  ///< of the names of what belongs to them
  Rotary rotary;
};

bool has_own_base(const ModelConfig& c, int64_t layer) {
  return c.window(layer) > 0 && c.window_rope_theta;
}

std::string prefix_of(const ModelConfig& c, int64_t layer) {
  return has_own_base(c, layer) ? "window_" : "";
}

/// Those that a model has: one, or with Gemma 3's local base two.
std::vector<Turns> all_turns(const ModelConfig& c) {
  std::vector<Turns> found;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = prefix_of(c, layer);
    const bool known = !found.empty() && (found[0].prefix == prefix || found.size() == 2);
    if (known) continue;
    if (const auto rotary = Rotary::of_layer(c, layer)) found.push_back({prefix, *rotary});
  }
  return found;
}

class ModelSource {
 public:
  ModelSource(const ModelConfig& config, const ScriptScope::Shapes& shapes)
      : c_(config), names_(models::family(config.family).names), scope_(shapes, "") {}

  std::string text() {
    text_ = "def forward(self, tokens: Tensor) -> Tensor:\n";
    line("assert tokens.dim() == 2, \"tokens: want (batch, length)\"");
    line("length = tokens.size(1)");
    embed();
    for (const Turns& turns : all_turns(c_)) turn(turns);
    see();
    for (int64_t layer = 0; layer < c_.layers; ++layer) run(layer);
    logits();
    return std::move(text_);
  }

 private:
  template <typename... T>
  void line(fmt::format_string<T...> text, T&&... values) {
    text_ += "    " + formatted(text, std::forward<T>(values)...) + "\n";
  }

  void embed() {
    line("x = torch.embedding({}, tokens)", ScriptScope::member(names_.embedding + ".weight"));
    if (c_.embedding_scale != 1) line("x = x * {}", script_number(c_.embedding_scale));
    if (c_.learned_positions == 0) return;
    line("assert length <= {}, \"tokens: this model has {} positions\"", c_.positions(),
         c_.positions());
    line("x = x + {}[{}:{} + length]", ScriptScope::member(names_.positions + ".weight"),
         c_.position_offset, c_.position_offset);
  }

  /// Cosines and sines of every position, (T, 1, r/2); angles in float64, as Rotary has them.
  void turn(const Turns& turns) {
    const std::string& prefix = turns.prefix;
    const std::string like = formatted("dtype={}, device=x.device", script_dtype(at::kDouble));
    if (turns.rotary.grows()) {
      const RopeScaling& s = *c_.rope_scaling;
      const double r = static_cast<double>(c_.rotary_size.value_or(c_.head_size));
      line("base = {}", script_number(c_.rope_theta));
      line("if length > {}:", s.original_context);
      line("    base = base * (({} * (length / {}) - {}) ** {})", script_number(s.factor),
           s.original_context, script_number(s.factor - 1), script_number(r / (r - 2)));
      line("frequency = torch.pow(base, torch.arange(0, {}, 2, {}) / -{})", r, like,
           script_number(r));
    } else if (turns.rotary.fixed_length()) {
      line("frequency = self.{}frequencies", prefix);
      line("if length > {}:", *turns.rotary.fixed_length());
      line("    frequency = self.{}long_frequencies", prefix);
    } else {
      line("frequency = self.{}frequencies", prefix);
    }
    line("at = torch.arange(length, {})", like);
    line("angle = torch.outer(at, frequency.to(x.device)).unsqueeze(1)");
    const double magnitude = turns.rotary.magnitude();
    const std::string times = magnitude == 1 ? "" : " * " + script_number(magnitude);
    line("{}cosine = (torch.cos(angle){}).to({})", prefix, times, script_wide("x"));
    line("{}sine = (torch.sin(angle){}).to({})", prefix, times, script_wide("x"));
  }

  /// What a query with a window sees.
  void see() {
    if (!c_.sliding_window) return;
    line("seen: Optional[Tensor] = None");
    line("if length > {}:", *c_.sliding_window);
    line("    seen = torch.ones([length, length], dtype={}, device=x.device)",
         script_dtype(at::kBool));
    line("    seen = seen.tril().triu({})", 1 - *c_.sliding_window);
  }

  void run(int64_t layer) {
    const ScriptInputs inputs = script_inputs(c_, layer);
    const std::string prefix = prefix_of(c_, layer);
    line("x = {}.forward(x{}{})", ScriptScope::member(formatted("{}.{}", names_.layers, layer)),
         inputs.turns ? formatted(", {}cosine, {}sine", prefix, prefix) : std::string(),
         inputs.windows ? ", seen" : "");
  }

  void logits() {
    line("n = {}", scope_.norm("x", names_.final_norm,
                               {c_.norm, c_.norm == NormKind::kLayer && !c_.sliced(),
                                c_.hidden_size, c_.norm_eps}));
    if (c_.maps_head()) line("n = {}", scope_.linear("n", names_.head + ".map"));
    if (c_.tied_head) {
      line("y = torch.linear(n, {})", ScriptScope::member(names_.embedding + ".weight"));
    } else {
      line("y = {}", scope_.linear("n", names_.head));
    }
    if (c_.logit_scale != 1) line("y = y * {}", script_number(c_.logit_scale));
    if (c_.logit_softcap > 0)
      line("y = torch.tanh(y / {}) * {}", script_number(c_.logit_softcap),
           script_number(c_.logit_softcap));
    line("return y.float()");
  }

  const ModelConfig& c_;
  const models::Names& names_;
  ScriptScope scope_;
  std::string text_;
};

}  // namespace

std::string script_model(const ModelConfig& config, const ScriptScope::Shapes& shapes) {
  return ModelSource(config, shapes).text();
}

std::vector<std::pair<std::string, std::vector<double>>> script_constants(
    const ModelConfig& config) {
  std::vector<std::pair<std::string, std::vector<double>>> found;
  for (const Turns& turns : all_turns(config)) {
    if (turns.rotary.grows()) continue;
    found.emplace_back(turns.prefix + "frequencies", turns.rotary.frequencies());
    if (const auto length = turns.rotary.fixed_length())
      found.emplace_back(turns.prefix + "long_frequencies", turns.rotary.frequencies(*length + 1));
  }
  return found;
}

}  // namespace slice::detail
