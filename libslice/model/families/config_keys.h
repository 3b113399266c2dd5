#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libslice/base/detail/json.h"
#include "libslice/model/config.h"

namespace slice::models {

/// Keys of a config.json that several families share. `origin` is the file, for messages. Every
/// function throws FormatError for a key of the wrong kind.

/// What Transformers takes for sizes that a config.json lacks; 0 is none.
struct SizeDefaults {
  int64_t hidden_size = 0, layers = 0, heads = 0, vocabulary_size = 0, context_length = 2048;
  int64_t kv_heads = 0;   ///< 0: the number of heads, which a null means in every family
  int64_t head_size = 0;  ///< 0: hidden size / heads, which a null means
};

/// hidden_size, layers, heads, head size, vocabulary, context, special tokens.
/// @throws FormatError  also for what every family of Transformers heeds and this library does not
///                      run: quantization_config, per_layer_config, is_causal false
ModelConfig parse_sizes(const nlohmann::json& object, const std::string& family,
                        const std::string& origin, const SizeDefaults& defaults = {});
/// A size; `otherwise` where the key is missing and otherwise is not 0. A null is missing.
/// @throws FormatError  it is missing
int64_t size_or(const nlohmann::json& object, const char* key, int64_t otherwise,
                const std::string& origin);
/// Leaves out special tokens that are outside the vocabulary, so that no text holds them, with a
/// warning.
void keep_usable_tokens(ModelConfig& config, const std::string& origin);
/// The end tokens of a config.json or generation_config.json: an integer, a list of them, or none.
std::vector<int64_t> parse_eos_tokens(const nlohmann::json& object, const std::string& origin);
/// Writes the same keys, special tokens excepted.
nlohmann::json sizes_json(const ModelConfig& config);
/// Writes special tokens, the same in both files. Absent ones are null, because Transformers takes
/// the family's default for a missing key.
void write_special_tokens(const ModelConfig& config, nlohmann::json& object);
void write_end_tokens(const std::vector<int64_t>& ids, nlohmann::json& object);

/// Rotary base, scaling and rotary_size, from the top level (rope_theta, rope_scaling) or, since
/// Transformers 5, from rope_parameters, as Transformers 5 reads them: rope_scaling counts where
/// both are there, and what stands in either counts before the top level. Keys that neither reads
/// are ignored.
/// @param rotated  the default of partial_rotary_factor    @param theta  that of the base
void parse_rope(const nlohmann::json& object, ModelConfig& config, double rotated,
                const std::string& origin, double theta = 10000.0);
/// Writes rope_theta, and rope_scaling and partial_rotary_factor where there are such.
void write_rope(const ModelConfig& config, nlohmann::json& object);

/// Rotary bases of a family that has one for each kind of layer.
struct RopeBases {
  double full, window;  ///< without and with the sliding window
};

/// Rotary base and scaling of the layers without the window, and the base of those with it, whose
/// frequencies are not scaled: of `rope_parameters`, which has an object for each kind, or as before
/// Transformers 5 of `rope_theta`, `window_base` and `rope_scaling`.
/// @param otherwise    for missing keys
/// @param window_base  key of the base of windows; nullptr where there was none
/// @throws FormatError  one object for all layers, scaled frequencies of windows, or rotated parts
///                      of a head
void parse_rope_of_kinds(const nlohmann::json& object, ModelConfig& config,
                         const RopeBases& otherwise, const char* window_base,
                         const std::string& origin);
/// Writes both forms.
void write_rope_of_kinds(const ModelConfig& config, const char* window_base,
                         nlohmann::json& object);

/// `sliding_window`; `otherwise` where the key is missing, none where it is null.
void parse_window_size(const nlohmann::json& object, ModelConfig& config, int64_t otherwise,
                       const std::string& origin);
/// Of `pattern` layers, at least 1, all but the last have the window.
void put_window_pattern(ModelConfig& config, int64_t pattern);
/// `layer_types` as Transformers writes it.
nlohmann::json layer_types_json(const ModelConfig& config);

/// Which layers have the sliding window, from `layer_types`, which Transformers 4.53 and later
/// write and then read instead of max_window_layers; nothing is changed where there are none. A
/// window that no layer has is taken away.
/// @throws FormatError  another type, a window without a size, another number of layers
void parse_layer_types(const nlohmann::json& object, ModelConfig& config,
                       const std::string& origin);
/// A window in the upper layers, or in those that `layer_types` names, as Qwen's configurations
/// have it.
/// @param window, first  the defaults of sliding_window and of max_window_layers
void parse_upper_window(const nlohmann::json& object, ModelConfig& config, int64_t window,
                        int64_t first, const std::string& origin);
/// Writes the same keys.
void write_upper_window(const ModelConfig& config, nlohmann::json& object);
/// Writes `max_window_layers`, and `layer_types` where the window is not that of the upper layers.
void write_window_layers(const ModelConfig& config, nlohmann::json& object);

/// The activation of this name. @throws FormatError  an unknown name
Activation parse_activation(const std::string& name, const std::string& origin);
std::string activation_name(Activation activation);

/// Refuses an option whose value this library does not run.
/// @param runs  the only supported value, also that of a missing key
inline void refuse_unless(const nlohmann::json& object, const char* key, bool runs,
                          const std::string& origin) {
  const bool value = detail::find_field<bool>(object, key, origin).value_or(runs);
  SLICE_FORMAT_CHECK(value == runs, "{}: {} {} is not supported", origin, key, value);
}

}  // namespace slice::models
