#include "libslice/model/families/stored_form.h"

#include "libslice/base/detail/formatted.h"

namespace slice::models {

namespace {

std::string tensor_of(const Names& names, const LayerParameter& parameter,
                      const std::string& module) {
  return detail::formatted("{}.{}.{}{}", names.layers, parameter.layer, module, parameter.kind);
}

/// Rows begin … end − 1 of every group.
void place_rows(StoredForm& form, std::string tensor, int64_t groups, int64_t group_rows,
                int64_t begin, int64_t end) {
  form.tensor = std::move(tensor);
  form.groups = groups;
  form.group_rows = group_rows;
  form.begin = begin;
  form.end = end;
}

/// @param groups  of query heads with their keys and values
void fuse_heads(const ModelConfig& c, const Names& names, const LayerParameter& parameter,
                const std::string& module, int64_t groups, StoredForm& form) {
  const int64_t q = c.heads * c.head_size / groups, kv = c.kv_heads * c.head_size / groups;
  const std::string tensor = tensor_of(names, parameter, module);
  const auto place = [&](int64_t begin, int64_t end) {
    place_rows(form, tensor, groups, q + 2 * kv, begin, end);
  };
  if (parameter.module == names.q) place(0, q);
  if (parameter.module == names.k) place(q, q + kv);
  if (parameter.module == names.v) place(q + kv, q + 2 * kv);
}

}  // namespace

std::optional<LayerParameter> layer_parameter(const Names& names, const std::string& parameter) {
  const std::optional<int64_t> layer = layer_of(names, parameter);
  if (!layer) return std::nullopt;
  const size_t begin = parameter.find('.', names.layers.size() + 1) + 1, dot = parameter.rfind('.');
  return LayerParameter{*layer, parameter.substr(begin, dot - begin), parameter.substr(dot)};
}

StoredForm stored_form(const ModelConfig& config, const std::string& parameter) {
  const Family& description = family(config.family);
  StoredForm form{.tensor = parameter};
  if (description.describe_stored) description.describe_stored(config, parameter, form);
  return form;
}

void fuse_queries_keys_values(const ModelConfig& config, const Names& names,
                              const LayerParameter& parameter, const std::string& module,
                              StoredForm& form) {
  fuse_heads(config, names, parameter, module, /*groups=*/1, form);
}

void fuse_by_key_head(const ModelConfig& config, const Names& names,
                      const LayerParameter& parameter, const std::string& module,
                      StoredForm& form) {
  fuse_heads(config, names, parameter, module, config.kv_heads, form);
}

void fuse_gate_up(const ModelConfig& config, const Names& names, const LayerParameter& parameter,
                  const std::string& module, StoredForm& form) {
  const int64_t width = config.ffn_width(parameter.layer);
  const std::string tensor = tensor_of(names, parameter, module);
  if (parameter.module == names.gate) place_rows(form, tensor, 1, 2 * width, 0, width);
  if (parameter.module == names.up) place_rows(form, tensor, 1, 2 * width, width, 2 * width);
}

void turn_neighbours(const ModelConfig& config, const Names& names, const std::string& parameter,
                     StoredForm& form) {
  const std::optional<LayerParameter> part = layer_parameter(names, parameter);
  if (!part) return;
  const bool each = config.head_norm == HeadNorm::kEach;  // one weight for all heads
  if (part->module == names.q) form.heads = config.heads;
  if (part->module == names.k) form.heads = config.kv_heads;
  if (part->module == names.q_norm) form.heads = each ? 1 : config.heads;
  if (part->module == names.k_norm) form.heads = each ? 1 : config.kv_heads;
  if (form.heads > 0) form.turning = config.turning(part->layer);
}

void take_one_off_norms(const Names& names, const std::string& parameter, StoredForm& form) {
  if (!parameter.ends_with(".weight")) return;
  const std::optional<LayerParameter> part = layer_parameter(names, parameter);
  const std::string module = parameter.substr(0, parameter.rfind('.'));
  const bool norm = part ? part->module == names.attention_norm || part->module == names.mlp_norm ||
                               part->module == names.attention_out_norm ||
                               part->module == names.mlp_out_norm || part->module == names.q_norm ||
                               part->module == names.k_norm
                         : module == names.final_norm;
  if (norm) form.offset = 1;
}

}  // namespace slice::models
