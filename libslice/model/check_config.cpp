// check_config of config.h.

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/model/config.h"

namespace slice {

namespace {

void check_stream_sizes(const ModelConfig& c, const std::string& origin) {
  SLICE_FORMAT_CHECK(std::ssize(c.stream_sizes) == c.sites(),
                     "{}: stream_sizes: want {} sizes, got {}", origin, c.sites(),
                     c.stream_sizes.size());
  for (const int64_t size : c.stream_sizes) {
    SLICE_FORMAT_CHECK(size >= 1 && size <= c.hidden_size, "{}: stream_sizes: want 1 … {}, got {}",
                       origin, c.hidden_size, size);
  }
  if (c.shortcut == ShortcutForm::kLowRank) {
    SLICE_FORMAT_CHECK(c.shortcut_rank >= 1 && c.shortcut_rank <= c.hidden_size,
                       "{}: shortcut_rank: want 1 … {}, got {}", origin, c.hidden_size,
                       c.shortcut_rank);
  }
  for (int64_t sublayer = 0; sublayer < c.sublayers(); ++sublayer) {
    const int64_t from = c.stream_size(sublayer), to = c.stream_size(sublayer + 1);
    const bool last = sublayer + 1 == c.sublayers();
    SLICE_FORMAT_CHECK(c.shortcut == ShortcutForm::kDense || from == to || (last && from < to),
                       "{}: stream_sizes: {} shortcuts want one size at all sites, got {} and {}",
                       origin, shortcut_name(c.shortcut), from, to);
  }
}

void check_ffn_sizes(const ModelConfig& c, const std::string& origin) {
  SLICE_FORMAT_CHECK(std::ssize(c.ffn_sizes) == c.layers, "{}: ffn_sizes: want {} sizes, got {}",
                     origin, c.layers, c.ffn_sizes.size());
  for (const int64_t size : c.ffn_sizes) {
    SLICE_FORMAT_CHECK(size >= 1 && size <= c.ffn_size, "{}: ffn_sizes: want 1 … {}, got {}",
                       origin, c.ffn_size, size);
  }
}

void check_scaling(const ModelConfig& c, const std::string& origin) {
  const RopeScaling& s = *c.rope_scaling;
  SLICE_FORMAT_CHECK(s.factor >= 1 && s.factor < 1e6,
                     "{}: rope scaling factor: want 1 … 1e6, got {}", origin, s.factor);
  SLICE_FORMAT_CHECK(s.low_frequency_factor > 0 && s.high_frequency_factor > s.low_frequency_factor,
                     "{}: rope scaling: want 0 < low_freq_factor < high_freq_factor, got {} and {}",
                     origin, s.low_frequency_factor, s.high_frequency_factor);
  SLICE_FORMAT_CHECK(s.original_context >= 1 && s.original_context <= int64_t{1} << 40,
                     "{}: original_max_position_embeddings: want 1 … {}, got {}", origin,
                     int64_t{1} << 40, s.original_context);
  SLICE_FORMAT_CHECK(s.attention_factor > 0 && s.attention_factor < 1e3,
                     "{}: rope scaling: attention factor: want a positive number, got {}", origin,
                     s.attention_factor);
  if (s.kind != RopeScaling::Kind::kLongRope) return;
  const int64_t pairs = c.rotary_size.value_or(c.head_size) / 2;
  for (const std::vector<double>* factors : {&s.short_factors, &s.long_factors}) {
    SLICE_FORMAT_CHECK(std::ssize(*factors) == pairs,
                       "{}: rope scaling: want {} short and long factors, got {}", origin, pairs,
                       factors->size());
    SLICE_FORMAT_CHECK(std::ranges::all_of(*factors, [](double f) { return f > 0 && f < 1e6; }),
                       "{}: rope scaling: want positive short and long factors", origin);
  }
}

void check_layers(const ModelConfig& c, const std::string& origin) {
  const auto count = [&](const char* name, const std::vector<bool>& layers) {
    SLICE_FORMAT_CHECK(layers.empty() || std::ssize(layers) == c.layers,
                       "{}: {}: want {} layers, got {}", origin, name, c.layers, layers.size());
  };
  count("layers with rotary positions", c.rotary_layers);
  count("layers with a sliding window", c.window_layers);
  if (!c.window_rope_theta) return;
  SLICE_FORMAT_CHECK(*c.window_rope_theta > 0 && *c.window_rope_theta < 1e15,
                     "{}: rope_theta of windows: want a positive base, got {}", origin,
                     *c.window_rope_theta);
}

void check_experts(const ModelConfig& c, const std::string& origin) {
  constexpr int64_t kMost = 4096, kMostOfAllLayers = int64_t{1} << 15;  // each is modules
  const ExpertSizes& e = c.experts;
  SLICE_FORMAT_CHECK(e.count <= kMost, "{}: number of experts: want 1 … {}, got {}", origin, kMost,
                     e.count);
  SLICE_FORMAT_CHECK(e.count * c.layers <= kMostOfAllLayers,
                     "{}: {} experts in each of {} layers: want at most {} together", origin,
                     e.count, c.layers, kMostOfAllLayers);
  SLICE_FORMAT_CHECK(e.per_token >= 1 && e.per_token <= e.count,
                     "{}: num_experts_per_tok: want 1 … {}, got {}", origin, e.count, e.per_token);
  SLICE_FORMAT_CHECK(
      c.gated_mlp && !c.mlp_bias && !c.parallel_block && !c.shifts() && !c.norms_outputs(),
      "{}: experts are supported as gated networks without biases in sequential "
      "blocks with RMSNorms",
      origin);
}

void check_scales(const ModelConfig& c, const std::string& origin) {
  const auto positive = [&](const char* name, double value) {
    SLICE_FORMAT_CHECK(value > 0 && value < 1e6, "{}: {}: want a positive number, got {}", origin,
                       name, value);
  };
  positive("attention scale", c.attention_scale.value_or(1));
  positive("embedding scale", c.embedding_scale);
  positive("residual scale", c.residual_scale);
  positive("logit scale", c.logit_scale);
  if (c.query_growth) {
    SLICE_FORMAT_CHECK(
        c.query_growth->beta >= 0 && c.query_growth->beta < 1e3 && c.query_growth->period >= 1,
        "{}: growth of queries: want β of 0 or more and a period of 1 or more, got "
        "{} and {}",
        origin, c.query_growth->beta, c.query_growth->period);
  }
  for (const double cap : {c.attention_softcap, c.logit_softcap}) {
    SLICE_FORMAT_CHECK(cap >= 0 && cap < 1e6, "{}: soft cap: want 0 or more, got {}", origin, cap);
  }
}

}  // namespace

void check_config(const ModelConfig& c, const std::string& origin) {
  constexpr int64_t kLargest = int64_t{1} << 24, kMostLayers = 1000;
  const auto in_range = [&](const char* name, int64_t value, int64_t largest) {
    SLICE_FORMAT_CHECK(value >= 1 && value <= largest, "{}: {}: want 1 … {}, got {}", origin, name,
                       largest, value);
  };
  in_range("hidden_size", c.hidden_size, kLargest);
  in_range("num_hidden_layers", c.layers, kMostLayers);
  in_range("num_attention_heads", c.heads, kLargest);
  in_range("num_key_value_heads", c.kv_heads, kLargest);
  in_range("head_dim", c.head_size, kLargest);
  in_range("intermediate_size", c.ffn_size, kLargest);
  in_range("vocab_size", c.vocabulary_size, kLargest);
  in_range("max_position_embeddings", c.context_length, int64_t{1} << 40);
  SLICE_FORMAT_CHECK(c.heads % c.kv_heads == 0,
                     "{}: num_key_value_heads {} does not divide num_attention_heads {}", origin,
                     c.kv_heads, c.heads);
  const int64_t turning = c.learned_positions > 0 ? 0 : c.rotary_size.value_or(c.head_size);
  SLICE_FORMAT_CHECK(turning % 2 == 0, "{}: head_dim {} is odd: rotary embeddings want pairs",
                     origin, turning);
  SLICE_FORMAT_CHECK((turning > 0 || c.learned_positions > 0) && turning <= c.head_size,
                     "{}: rotary embeddings of {} coordinates in heads of {}", origin, turning,
                     c.head_size);
  if (c.learned_positions > 0) {
    in_range("position table", c.learned_positions, kLargest);
    SLICE_FORMAT_CHECK(c.position_offset >= 0 && c.position_offset < c.learned_positions,
                       "{}: position offset {} in a table of {}", origin, c.position_offset,
                       c.learned_positions);
  }
  if (c.sliding_window) in_range("sliding_window", *c.sliding_window, int64_t{1} << 40);
  SLICE_FORMAT_CHECK(c.heads * c.head_size <= kLargest, "{}: {} heads of {} are too wide", origin,
                     c.heads, c.head_size);
  SLICE_FORMAT_CHECK(c.norm_eps >= 0 && c.norm_eps < 1, "{}: norm epsilon: want [0, 1), got {}",
                     origin, c.norm_eps);
  SLICE_FORMAT_CHECK(c.rope_theta > 0 && c.rope_theta < 1e15,
                     "{}: rope_theta: want a positive base, got {}", origin, c.rope_theta);
  if (c.rope_scaling) check_scaling(c, origin);
  check_layers(c, origin);
  check_scales(c, origin);
  if (c.routed()) check_experts(c, origin);
  const auto is_token = [&](const char* name, int64_t id) {
    SLICE_FORMAT_CHECK(id >= 0 && id < c.vocabulary_size,
                       "{}: {} {} is outside the vocabulary of {}", origin, name, id,
                       c.vocabulary_size);
  };
  if (c.bos_token) is_token("bos_token_id", *c.bos_token);
  for (const int64_t id : c.eos_tokens) is_token("eos_token_id", id);
  SLICE_FORMAT_CHECK(!c.norms_outputs() || (c.norm == NormKind::kRms && !c.parallel_block),
                     "{}: norms on outputs are supported as RMSNorms of sequential blocks", origin);
  SLICE_FORMAT_CHECK(!c.norms_outputs() || !c.sliced(),
                     "{}: stream_sizes: norms on outputs keep the stream as it is", origin);
  if (c.sliced()) check_stream_sizes(c, origin);
  if (!c.ffn_sizes.empty()) check_ffn_sizes(c, origin);
}

}  // namespace slice
