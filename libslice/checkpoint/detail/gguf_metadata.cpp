#include "libslice/checkpoint/detail/gguf_metadata.h"

#include <algorithm>
#include <limits>
#include <string>

#include "libslice/model/families/rope_magnitudes.h"

namespace slice::detail {

namespace {

/// Keys of one architecture.
class Keys {
 public:
  Keys(const std::string& architecture, GgufHeader& header)
      : prefix_(architecture + "."), header_(header) {}

  void number(const std::string& key, int64_t value) {
    constexpr int64_t kLargest = std::numeric_limits<uint32_t>::max();
    header_.number(prefix_ + key, static_cast<uint32_t>(std::min(value, kLargest)));
  }
  void real(const std::string& key, double value) {
    header_.real(prefix_ + key, static_cast<float>(value));
  }
  void numbers(const std::string& key, const std::vector<int64_t>& values) {
    header_.numbers(prefix_ + key, {values.begin(), values.end()});
  }
  void flag(const std::string& key, bool value) { header_.flag(prefix_ + key, value); }
  void flags(const std::string& key, const std::vector<bool>& values) {
    header_.flags(prefix_ + key, values);
  }
  void text(const std::string& key, const std::string& value) {
    header_.text(prefix_ + key, value);
  }

 private:
  std::string prefix_;
  GgufHeader& header_;
};

void write_sizes(const ModelConfig& c, Keys& keys) {
  keys.number("block_count", c.layers);
  keys.number("context_length", c.context_length);
  keys.number("embedding_length", c.hidden_size);
  if (c.ffn_sizes.empty()) {
    keys.number("feed_forward_length", c.ffn_size);
  } else {
    keys.numbers("feed_forward_length", c.ffn_sizes);
  }
  keys.number("attention.head_count", c.heads);
  keys.number("attention.head_count_kv", c.kv_heads);
  keys.number("attention.key_length", c.head_size);
  keys.number("attention.value_length", c.head_size);
  keys.number("vocab_size", c.vocabulary_size);
  if (c.routed()) {
    keys.number("expert_count", c.experts.count);
    keys.number("expert_used_count", c.experts.per_token);
  }
  if (c.family == "qwen3_moe") keys.number("expert_feed_forward_length", c.ffn_size);
  const bool rms = c.norm == NormKind::kRms;
  keys.real(rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", c.norm_eps);
}

void write_scales(const std::string& architecture, const ModelConfig& c, Keys& keys) {
  if (architecture == "command-r" || architecture == "cohere2")
    keys.real("logit_scale", c.logit_scale);
  if (architecture == "granite") {
    keys.real("logit_scale", 1 / c.logit_scale);  // what logits are divided by
    keys.real("embedding_scale", c.embedding_scale);
    keys.real("residual_scale", c.residual_scale);
    if (c.attention_scale) keys.real("attention.scale", *c.attention_scale);
  }
  if (c.query_growth) keys.real("attention.temperature_scale", c.query_growth->beta);
  if (c.attention_softcap > 0) keys.real("attn_logit_softcapping", c.attention_softcap);
  if (c.logit_softcap > 0) keys.real("final_logit_softcapping", c.logit_softcap);
}

void write_window(const models::GgufArchitecture& architecture, const ModelConfig& c, Keys& keys) {
  if (!c.sliding_window) return;
  keys.number("attention.sliding_window", *c.sliding_window);
  if (!architecture.windows) return;
  std::vector<bool> windows;
  for (int64_t layer = 0; layer < c.layers; ++layer) windows.push_back(c.window(layer) > 0);
  keys.flags("attention.sliding_window_pattern", windows);
  keys.real("rope.freq_base_swa", c.window_rope_theta.value_or(c.rope_theta));
}

void write_rope(const ModelConfig& c, Keys& keys) {
  using Kind = RopeScaling::Kind;
  keys.number("rope.dimension_count", c.rotary_size.value_or(c.head_size));
  keys.real("rope.freq_base", c.rope_theta);
  // Of Llama 3's scaling, as of none, there is no key: its divisors are a tensor.
  const Kind kind = c.rope_scaling ? c.rope_scaling->kind : Kind::kLlama3;
  const bool yarn = kind == Kind::kYarn, long_rope = kind == Kind::kLongRope;
  if (c.query_growth && !yarn)
    keys.number("rope.scaling.original_context_length", c.query_growth->period);
  if (kind == Kind::kLlama3) return;
  const RopeScaling& s = *c.rope_scaling;
  keys.text("rope.scaling.type", yarn ? "yarn" : long_rope ? "longrope" : "linear");
  if (!long_rope) keys.real("rope.scaling.factor", s.factor);
  if (!yarn && !long_rope) return;
  keys.number("rope.scaling.original_context_length", s.original_context);
  const double usual = yarn ? models::usual_yarn_magnitude(s.factor) : 1;
  keys.real("rope.scaling.attn_factor", s.attention_factor / usual);
  if (!yarn) return;
  keys.real("rope.scaling.yarn_beta_fast", s.high_frequency_factor);
  keys.real("rope.scaling.yarn_beta_slow", s.low_frequency_factor);
}

}  // namespace

void write_gguf_metadata(const models::GgufArchitecture& architecture, const ModelConfig& c,
                         GgufHeader& header) {
  Keys keys(architecture.name, header);
  write_sizes(c, keys);
  write_scales(architecture.name, c, keys);
  if (architecture.name == "stablelm" || architecture.name == "gptneox")
    keys.flag("use_parallel_residual", c.parallel_block);
  write_window(architecture, c, keys);
  if (c.learned_positions == 0) write_rope(c, keys);
}

}  // namespace slice::detail
