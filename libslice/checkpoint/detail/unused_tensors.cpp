#include "libslice/checkpoint/detail/unused_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "libslice/base/detail/check.h"
#include "libslice/base/detail/tensor_text.h"
#include "libslice/base/detail/warn.h"
#include "libslice/model/decoder.h"
#include "libslice/model/families/family.h"

namespace slice::detail {
namespace {

using models::Names;
using Words = std::vector<std::string_view>;

/// Where a tensor is in a model.
enum class Place {
  kElsewhere,   ///< in no part that the network runs
  kLaterLayer,  ///< in a layer after the last one
  kNetwork,     ///< in a layer, in the embeddings, in the final norm or in the head
};

/// The words of a name between its dots.
Words words_of(std::string_view name) {
  Words words;
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.')) {
    words.push_back(name.substr(0, dot));
    name.remove_prefix(dot + 1);
  }
  words.push_back(name);
  return words;
}

template <size_t N>
bool among(std::string_view word, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

/// The layer's number after a prefix; −1 where none can be read, nothing without the prefix.
std::optional<int64_t> layer_after(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  int64_t layer = -1;
  const auto [rest, error] = std::from_chars(name.begin() + prefix.size(), name.end(), layer);
  const bool read = error == std::errc() && rest != name.end() && *rest == '.' && layer >= 0;
  return read ? layer : -1;
}

/// A norm, an embedding or a projection that stands in the stream by itself: a module of one word,
/// such as model.embed_norm or GGUF's token_embd_norm.
bool in_the_stream(std::string_view name, std::string_view root) {
  if (name.starts_with(root)) name.remove_prefix(root.size());
  const Words words = words_of(name);
  if (words.size() != 2) return false;
  const std::string_view module = words[0];
  if (module.starts_with("ln_")) return true;
  for (const char* part : {"norm", "embed", "embd", "project_", "token_types"})
    if (module.find(part) != module.npos) return true;
  return false;
}

Place place_of(const std::string& name, const ModelConfig& config) {
  const Names& names = models::family(config.family).names;
  for (const std::string& prefix : {names.layers + ".", std::string("blk.")}) {
    const auto layer = layer_after(name, prefix);
    if (layer) return *layer < config.layers ? Place::kNetwork : Place::kLaterLayer;
  }
  for (const std::string& module :
       {names.embedding, names.positions, names.final_norm, names.head}) {
    if (!module.empty() && name.starts_with(module + ".")) return Place::kNetwork;
  }
  const std::string root = names.embedding.substr(0, names.embedding.rfind('.') + 1);
  return in_the_stream(name, root) ? Place::kNetwork : Place::kElsewhere;
}

/// A weight of an adapter that was not merged (PEFT).
bool of_adapter(const Words& words) {
  return std::any_of(words.begin(), words.end(), [](std::string_view word) {
    return word.starts_with("lora_") || word.starts_with("ia3_") || word == "base_layer" ||
           word == "modules_to_save";
  });
}

/// A part of a quantised matrix: GPTQ, AWQ, compressed-tensors, float8, bitsandbytes, EXL2, MLX.
bool of_quantised(const Words& words) {
  constexpr std::string_view kParts[] = {"qweight",
                                         "qzeros",
                                         "scales",
                                         "g_idx",
                                         "biases",
                                         "weight_scale",
                                         "weight_scale_inv",
                                         "weight_scale_2",
                                         "weight_zero_point",
                                         "weight_packed",
                                         "weight_shape",
                                         "weight_global_scale",
                                         "input_scale",
                                         "scale",
                                         "scale_inv",
                                         "absmax",
                                         "quant_map",
                                         "nested_absmax",
                                         "nested_quant_map",
                                         "SCB",
                                         "q_weight",
                                         "q_scale",
                                         "q_scale_max",
                                         "q_groups",
                                         "q_invperm"};
  return among(words.back(), kParts) ||
         std::any_of(words.begin(), words.end(),
                     [](std::string_view word) { return word == "quant_state"; });
}

/// A buffer: recomputed by whoever needs it, or the scale of a quantised key/value cache.
bool is_buffer(const Words& words, const Checkpoint::Entry& entry) {
  constexpr std::string_view kBuffers[] = {
      "inv_freq",    "original_inv_freq",  "cos_cached", "sin_cached",
      "masked_bias", "position_ids",       "k_scale",    "v_scale",
      "q_scale",     "kv_scale",           "prob_scale", "output_scale",
      "mask",        "num_batches_tracked"};
  const bool rotary = std::any_of(words.begin(), words.end(), [](std::string_view word) {
    return word.starts_with("rotary_");
  });
  const bool causal_mask = words.back() == "bias" && entry.shape.size() == 4;
  return rotary || causal_mask || among(words.back(), kBuffers) || !at::isFloatingType(entry.dtype);
}

bool zero_bias(const Checkpoint& checkpoint, const std::string& name,
               const Checkpoint::Entry& entry) {
  return name.ends_with(".bias") && entry.shape.size() == 1 && !entry.quantised &&
         checkpoint.read(name).to(at::kFloat).eq(0).all().item<bool>();
}

/// Why the tensor cannot be left out; empty where it can.
std::string objection(const Checkpoint& checkpoint, const std::string& name,
                      const Checkpoint::Entry& entry) {
  const Words words = words_of(name);
  if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end()) return "";
  if (of_adapter(words)) return "it is of an adapter: merge that into its model first";
  if (place_of(name, checkpoint.config()) != Place::kNetwork) return "";
  if (of_quantised(words))
    return "it is of a quantised model: want the unquantised one, or a GGUF file";
  if (is_buffer(words, entry) || zero_bias(checkpoint, name, entry)) return "";
  return "a " + checkpoint.config().family + " of this configuration has none";
}

/// Names that all begin with the same word too many are a wrapper's.
void check_prefix(const Checkpoint& checkpoint, const Names& names) {
  const std::string embedding = names.embedding + ".weight";
  if (checkpoint.tensors().contains(embedding)) return;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    SLICE_FORMAT_CHECK(
        !name.ends_with("." + embedding),
        "{}: {}: its tensors' names begin with '{}', which a wrapper put there: save "
        "the model inside it",
        checkpoint.path().string(), name, name.substr(0, name.size() - embedding.size()));
  }
}

void warn_of(const std::vector<std::string>& unused, const std::string& file) {
  constexpr size_t kNamed = 8;
  if (unused.empty()) return;
  std::string list;
  for (size_t i = 0; i < std::min(kNamed, unused.size()); ++i)
    list += (i == 0 ? "" : ", ") + unused[i];
  if (unused.size() > kNamed) list += formatted(" and {} more", unused.size() - kNamed);
  warn("{}: not used: {}", file, list);
}

}  // namespace

std::set<std::string> parameter_names(const ModelConfig& config) {
  std::set<std::string> names;
  for (const auto& parameter : DecoderImpl(config).named_parameters())  // placeholders
    names.insert(parameter.key());
  return names;
}

void check_unused(const Checkpoint& checkpoint) {
  const std::string file = checkpoint.path().string();
  const models::Family& family = models::family(checkpoint.config().family);
  check_prefix(checkpoint, family.names);
  const std::set<std::string> parameters = parameter_names(checkpoint.config());
  std::vector<std::string> unused;
  for (const auto& [name, entry] : checkpoint.tensors()) {
    const bool known = std::any_of(family.ignored_suffixes.begin(), family.ignored_suffixes.end(),
                                   [&key = name](const std::string& suffix) {
                                     return std::string_view(key).ends_with(suffix);
                                   });
    if (known || parameters.contains(name)) continue;
    const std::string reason = objection(checkpoint, name, entry);
    SLICE_FORMAT_CHECK(reason.empty(), "{}: unexpected tensor {} {}: {}", file, name,
                       describe(entry.shape), reason);
    unused.push_back(name);
  }
  warn_of(unused, file);
}

}  // namespace slice::detail
