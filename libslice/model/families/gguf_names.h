#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "libslice/model/config.h"
#include "libslice/model/families/gguf_architectures.h"
#include "libslice/model/families/stored_form.h"

namespace slice::models {

/// The Hugging Face tensor of a GGUF tensor, or of some of its rows.
struct GgufPlace {
  std::string name;     ///< Hugging Face name
  int64_t begin, end;   ///< rows
  int64_t expert = -1;  ///< of a stack (E, rows, in): which slice; −1: the tensor is none
};

/// The Hugging Face tensors of the GGUF tensor `name`: several for a fused q, k, v, for a fused gate
/// and up, and for a stack of experts; none for rotary factors, which are metadata. A tensor that
/// the family does not have keeps its name.
/// @param shape   outermost first
/// @param origin  the file, for messages    @throws FormatError  a stack of other experts
std::vector<GgufPlace> gguf_places(const GgufArchitecture& architecture, const ModelConfig& config,
                                   const std::string& name, const std::vector<int64_t>& shape,
                                   const std::string& origin);

/// Where a file of this architecture keeps a parameter of the configuration's family, in the form
/// in which llama.cpp's own conversion writes it.
/// @throws FormatError  llama.cpp has no such part
StoredForm gguf_form(const GgufArchitecture& architecture, const ModelConfig& config,
                     const std::string& parameter);

/// The order in which such a file keeps the coordinates of the heads of q and k: `heads` and
/// `turning` of the form alone.
void turn_as_gguf(const GgufArchitecture& architecture, const ModelConfig& config,
                  const std::string& parameter, StoredForm& form);

}  // namespace slice::models
