#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "libslice/model/config.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// Where a file keeps a parameter of the network, and what it keeps instead of it.
struct StoredForm {
  std::string tensor;  ///< of the file
  /// The rows of the tensor come in `groups` of `group_rows`, and the parameter is rows begin …
  /// end − 1 of every group, in their order. group_rows 0: the parameter is the whole tensor.
  int64_t groups = 1, group_rows = 0, begin = 0, end = 0;
  /// The parameter is one slice of a tensor (E, …), whose slices are the parameters of that name in
  /// their order.
  bool stacked = false;
  bool transposed = false;  ///< a matrix is (in, out) in the file; rows are those of (out, in)
  /// The first `turning` coordinates of each of these heads lie as pairs that turn together, (2i,
  /// 2i + 1); in the network these are (i, i + turning/2). 0: as in the network.
  int64_t heads = 0, turning = 0;
  double offset = 0;  ///< the parameter is what is stored and this number: γ = 1 + w

  bool fused() const { return group_rows > 0; }
};

/// A parameter of a layer: "self_attn.q_proj" and ".weight".
struct LayerParameter {
  int64_t layer;
  std::string module, kind;
};

/// Nothing for parameters of the embeddings and the head.
std::optional<LayerParameter> layer_parameter(const Names& names, const std::string& parameter);

/// Of a Hugging Face file of the family. Sizes are those of the configuration.
StoredForm stored_form(const ModelConfig& config, const std::string& parameter);

// What descriptions are made of. Each changes the form of the parameters that it is about, and
// leaves the others.

/// q, k and v are one tensor, in this order; `module` within the layer.
void fuse_queries_keys_values(const ModelConfig& config, const Names& names,
                              const LayerParameter& parameter, const std::string& module,
                              StoredForm& form);
/// The same by key/value head: its queries, its key, its value, and then the next head's.
void fuse_by_key_head(const ModelConfig& config, const Names& names,
                      const LayerParameter& parameter, const std::string& module, StoredForm& form);
/// gate and up are one tensor, in this order.
void fuse_gate_up(const ModelConfig& config, const Names& names, const LayerParameter& parameter,
                  const std::string& module, StoredForm& form);
/// q and k, and the norms of their heads, turn neighbouring coordinates together.
void turn_neighbours(const ModelConfig& config, const Names& names, const std::string& parameter,
                     StoredForm& form);
/// Weights of the norms are stored without their 1.
void take_one_off_norms(const Names& names, const std::string& parameter, StoredForm& form);

}  // namespace slice::models
