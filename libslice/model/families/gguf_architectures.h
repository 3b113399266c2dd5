#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libslice/model/config.h"

namespace slice::models {

/// What llama.cpp's network of an architecture takes, and how its files keep q and k.
///                                      (source: src/models/ and conversion/ in its repository)
struct GgufArchitecture {
  enum class Head { kEither, kTied, kOwn };
  enum class Biases { kNone, kOptional, kRequired };
  /// What it does with the shares of the experts that a token goes through.
  enum class Shares {
    kNone,        ///< it has no experts
    kPlain,       ///< they stay what the softmax gives
    kNormalised,  ///< they are divided by their sum
  };
  /// Which coordinates of a head turn together in a file.
  enum class Pairs {
    kHalves,      ///< i and i + r/2, as in our network
    kNeighbours,  ///< 2i and 2i + 1 of those that turn
    kReordered,   ///< the same of whole heads, in layers that do not turn too
  };

  std::string name;                   ///< general.architecture
  std::vector<std::string> families;  ///< whose models it runs
  bool free_heads = false;            ///< heads of any size, else of hidden size / heads
  bool turns_in_part = false;         ///< a part of each head may turn
  bool uneven = false;                ///< FFN widths may differ between layers
  Head head = Head::kEither;
  Biases qkv = Biases::kNone, output = Biases::kNone, mlp = Biases::kNone;
  Activation activation = Activation::kSilu;  ///< either GELU is computed as kGeluTanh there
  bool windows = false;                       ///< some layers have a sliding window, which it runs
  std::vector<RopeScaling::Kind> scalings = {RopeScaling::Kind::kLinear, RopeScaling::Kind::kYarn};
  Pairs pairs = Pairs::kHalves;
  bool fused_qkv = false, fused_gate_up = false;  ///< in one tensor each, in this order
  Shares shares = Shares::kNone;                  ///< of a mixture of experts
};

/// Those that run models of a family, the family's own before more general ones.
std::vector<const GgufArchitecture*> gguf_architectures(const std::string& family);
/// The one of this name. @throws FormatError  it is not in the table
const GgufArchitecture& gguf_architecture_named(std::string_view name);

/// Why llama.cpp's network of an architecture is not that of a dense model; nothing where it is. A
/// Mistral's and a Phi-3's window, which it does not heed, is no reason.
std::optional<std::string> gguf_refusal(const GgufArchitecture& architecture,
                                        const ModelConfig& dense);

}  // namespace slice::models
