#include "libslice/model/families/gguf_names.h"

#include <charconv>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/model/families/gguf_rope.h"

namespace slice::models {
namespace {

/// Names of the parts of the model and of a layer: llama.cpp's and ours.
using Parts = std::vector<std::pair<std::string, std::string>>;

Parts model_parts(const Names& names) {
  return {{"token_embd", names.embedding},
          {"position_embd", names.positions},
          {"output_norm", names.final_norm},
          {"output", names.head}};
}

Parts layer_parts(const std::string& architecture, const ModelConfig& c) {
  const Names& names = family(c.family).names;
  Parts parts = {{"attn_norm", names.attention_norm},
                 {"attn_q", names.q},
                 {"attn_k", names.k},
                 {"attn_v", names.v},
                 {"attn_output", names.o},
                 {"ffn_norm", names.mlp_norm},
                 {"attn_q_norm", names.q_norm},
                 {"attn_k_norm", names.k_norm},
                 {"post_attention_norm", names.attention_out_norm},
                 {"post_ffw_norm", names.mlp_out_norm},
                 {"ffn_gate_inp", names.router}};
  if (!c.routed())
    parts.insert(parts.end(),
                 {{"ffn_gate", names.gate}, {"ffn_up", names.up}, {"ffn_down", names.down}});
  for (auto& [theirs, ours] : parts) {
    if (architecture == "seed_oss" && theirs == "ffn_norm") theirs = "post_attention_norm";
    if (architecture != "falcon" || !c.branch_norms) continue;
    if (ours == names.attention_norm) theirs = "attn_norm_2";
    if (ours == names.mlp_norm) theirs = "attn_norm";
  }
  std::erase_if(parts, [](const auto& part) { return part.second.empty(); });
  return parts;
}

/// Stacks of a layer's experts, and what an expert calls its slice.
Parts expert_parts(const ModelConfig& c) {
  const Names& names = family(c.family).names;
  if (!c.routed()) return {};
  return {{"ffn_gate_exps", names.gate}, {"ffn_up_exps", names.up}, {"ffn_down_exps", names.down}};
}

/// The part of an expert that a module of a layer is: "up_proj"; empty where it is no expert's.
std::string part_of_expert(const Names& names, const std::string& module) {
  const std::string root = names.experts + ".";
  if (names.experts.empty() || !module.starts_with(root)) return "";
  return module.substr(module.find('.', root.size()) + 1);
}

}  // namespace

std::vector<GgufPlace> gguf_places(const GgufArchitecture& architecture, const ModelConfig& c,
                                   const std::string& name, const std::vector<int64_t>& shape,
                                   const std::string& origin) {
  if (is_gguf_rope_tensor(name)) return {};
  const int64_t rows = shape[0];
  const Names& names = family(c.family).names;
  const size_t dot = name.rfind('.');
  const std::string part = name.substr(0, dot);
  const std::string kind = dot == std::string::npos ? "" : name.substr(dot);  // ".weight"
  const auto whole = [&](const std::string& path) {
    return std::vector<GgufPlace>{{path + kind, 0, rows}};
  };
  for (const auto& [from, to] : model_parts(names)) {
    if (part == from && !to.empty()) return whole(to);
  }

  const std::string prefix = "blk.";
  if (!part.starts_with(prefix)) return {{name, 0, rows}};
  int64_t layer = -1;
  const char* const end = part.data() + part.size();
  const auto [rest, error] = std::from_chars(part.data() + prefix.size(), end, layer);
  if (error != std::errc() || layer < 0) return {{name, 0, rows}};
  const std::string tail(rest, end);  // ".attn_q"
  const std::string root = detail::formatted("{}.{}.", names.layers, layer);
  const int64_t width = layer < c.layers ? c.ffn_width(layer) : 0;
  if (tail == ".ffn_up" && c.gated_mlp && !c.routed() && rows == 2 * width)
    return {{root + names.gate + kind, 0, width}, {root + names.up + kind, width, rows}};
  for (const auto& [from, to] : layer_parts(architecture.name, c)) {
    if (tail == "." + from) return whole(root + to);
  }
  for (const auto& [from, to] : expert_parts(c)) {
    // In files of the first mixtures every expert has a tensor: ".ffn_up.3".
    const std::string single = "." + from.substr(0, from.rfind('_')) + ".";
    if (tail.starts_with(single))
      return whole(root + names.experts + "." + tail.substr(single.size()) + "." + to);
    if (tail != "." + from || kind != ".weight") continue;
    const int64_t count = c.experts.count;
    SLICE_FORMAT_CHECK(shape.size() == 3 && rows == count, "{}: {}: want {} matrices, got {}",
                       origin, name, count, detail::describe(shape));
    std::vector<GgufPlace> places;
    for (int64_t e = 0; e < count; ++e)
      places.push_back({detail::formatted("{}{}.{}{}", root, names.experts, e, "." + to + kind), 0,
                        shape[1], e});
    return places;
  }
  const int64_t q = c.heads * c.head_size, kv = c.kv_heads * c.head_size;
  if (tail == ".attn_qkv" && rows == q + 2 * kv) {
    return {{root + names.q + kind, 0, q},
            {root + names.k + kind, q, q + kv},
            {root + names.v + kind, q + kv, rows}};
  }
  return {{name, 0, rows}};
}

void turn_as_gguf(const GgufArchitecture& architecture, const ModelConfig& c,
                  const std::string& parameter, StoredForm& form) {
  if (architecture.pairs == GgufArchitecture::Pairs::kHalves) return;
  const Names& names = family(c.family).names;
  turn_neighbours(c, names, parameter, form);
  if (architecture.pairs == GgufArchitecture::Pairs::kReordered && form.heads > 0)
    form.turning = c.head_size;
}

StoredForm gguf_form(const GgufArchitecture& architecture, const ModelConfig& c,
                     const std::string& parameter) {
  const Names& names = family(c.family).names;
  StoredForm form;
  turn_as_gguf(architecture, c, parameter, form);
  const std::optional<LayerParameter> part = layer_parameter(names, parameter);
  if (!part) {
    const size_t dot = parameter.rfind('.');
    for (const auto& [theirs, ours] : model_parts(names))
      if (parameter.substr(0, dot) == ours) form.tensor = theirs + parameter.substr(dot);
  } else {
    if (architecture.fused_qkv) fuse_queries_keys_values(c, names, *part, "", form);
    if (architecture.fused_gate_up) fuse_gate_up(c, names, *part, "", form);
    std::string module;
    for (const auto& [theirs, ours] : layer_parts(architecture.name, c))
      if (part->module == ours) module = theirs;
    for (const auto& [theirs, ours] : expert_parts(c)) {
      if (part_of_expert(names, part->module) != ours) continue;
      module = theirs;
      form.stacked = true;
    }
    if (form.fused())
      module = part->module == names.gate || part->module == names.up ? "ffn_up" : "attn_qkv";
    if (!module.empty())
      form.tensor = detail::formatted("blk.{}.{}{}", part->layer, module, part->kind);
  }
  SLICE_FORMAT_CHECK(!form.tensor.empty(), "GGUF has no name for tensor {}", parameter);
  return form;
}

}  // namespace slice::models
