#include "libslice/model/families/gguf_architectures.h"

#include <algorithm>

#include "libslice/base/detail/check.h"

namespace slice::models {
namespace {

using Head = GgufArchitecture::Head;
using Biases = GgufArchitecture::Biases;
using Pairs = GgufArchitecture::Pairs;
using Shares = GgufArchitecture::Shares;
using Kind = RopeScaling::Kind;

constexpr auto kNo = Biases::kNone, kMay = Biases::kOptional, kMust = Biases::kRequired;

/// The same network under another name, whose FFN widths may differ.
GgufArchitecture uneven(const char* name, GgufArchitecture architecture) {
  architecture.name = name;
  architecture.uneven = true;
  architecture.shares = Shares::kNone;
  return architecture;
}

/// More general ones stand below those of one family.
const std::vector<GgufArchitecture>& table() {
  static const std::vector<Kind> kAll = {Kind::kLinear, Kind::kYarn, Kind::kLlama3,
                                         Kind::kLongRope},
                                 kLlama3 = {Kind::kLinear, Kind::kYarn, Kind::kLlama3},
                                 kLong = {Kind::kLinear, Kind::kYarn, Kind::kLongRope},
                                 kLinear = {Kind::kLinear};
  static const GgufArchitecture llama = {
      .name = "llama",
      .families = {"llama", "mistral", "ministral", "qwen2", "phi3", "seed_oss", "ernie4_5",
                   "helium", "smollm3", "mixtral"},
      .free_heads = true,
      .qkv = kMay,
      .output = kMay,
      .mlp = kMay,
      .scalings = kAll,
      .pairs = Pairs::kReordered,
      .shares = Shares::kNormalised};
  static const std::vector<GgufArchitecture> all = {
      {.name = "apertus",
       .families = {"apertus"},
       .free_heads = true,
       .head = Head::kOwn,
       .qkv = kMay,
       .output = kMay,
       .activation = Activation::kXielu,
       .scalings = kAll},
      {.name = "arcee",
       .families = {"arcee"},
       .free_heads = true,
       .activation = Activation::kRelu2,
       .scalings = kLlama3,
       .pairs = Pairs::kReordered},
      {.name = "cohere2",
       .families = {"cohere2"},
       .head = Head::kTied,
       .windows = true,
       .pairs = Pairs::kNeighbours},
      {.name = "command-r",
       .families = {"cohere"},
       .head = Head::kTied,
       .pairs = Pairs::kNeighbours},
      {.name = "ernie4_5",
       .families = {"ernie4_5"},
       .free_heads = true,
       .pairs = Pairs::kNeighbours},
      {.name = "exaone4", .families = {"exaone4"}, .windows = true, .scalings = kLlama3},
      {.name = "falcon",
       .families = {"falcon"},
       .activation = Activation::kGelu,
       .fused_qkv = true},
      {.name = "gemma",
       .families = {"gemma"},
       .free_heads = true,
       .head = Head::kTied,
       .activation = Activation::kGeluTanh},
      {.name = "gemma2",
       .families = {"gemma2"},
       .free_heads = true,
       .head = Head::kTied,
       .activation = Activation::kGeluTanh,
       .windows = true,
       .scalings = kLinear},
      {.name = "gemma3",
       .families = {"gemma3"},
       .free_heads = true,
       .activation = Activation::kGeluTanh,
       .windows = true,
       .scalings = kLinear},
      {.name = "glm4",
       .families = {"glm4"},
       .free_heads = true,
       .turns_in_part = true,
       .qkv = kMay,
       .pairs = Pairs::kNeighbours,
       .fused_gate_up = true},
      {.name = "gpt2",
       .families = {"gpt2"},
       .qkv = kMust,
       .output = kMust,
       .mlp = kMust,
       .activation = Activation::kGeluTanh,
       .fused_qkv = true},
      {.name = "gptneox",
       .families = {"gpt_neox"},
       .turns_in_part = true,
       .head = Head::kOwn,
       .qkv = kMust,
       .output = kMust,
       .mlp = kMust,
       .activation = Activation::kGelu,
       .fused_qkv = true},
      {.name = "granite",
       .families = {"granite"},
       .free_heads = true,
       .qkv = kMay,
       .output = kMay,
       .mlp = kMay,
       .scalings = kAll,
       .pairs = Pairs::kReordered},
      {.name = "hunyuan-dense",
       .families = {"hunyuan_dense"},
       .free_heads = true,
       .scalings = kLlama3},
      {.name = "nemotron",
       .families = {"nemotron"},
       .turns_in_part = true,
       .head = Head::kOwn,
       .qkv = kMay,
       .output = kMay,
       .mlp = kMay,
       .activation = Activation::kRelu2},
      {.name = "olmo", .families = {"olmo"}, .pairs = Pairs::kReordered},
      {.name = "olmo2", .families = {"olmo2", "olmo3"}, .head = Head::kOwn, .windows = true},
      {.name = "olmoe", .families = {"olmoe"}, .head = Head::kOwn, .shares = Shares::kPlain},
      {.name = "phi2",
       .families = {"phi"},
       .turns_in_part = true,
       .head = Head::kOwn,
       .qkv = kMust,
       .output = kMust,
       .mlp = kMust,
       .activation = Activation::kGeluTanh},
      {.name = "phi3",
       .families = {"phi3"},
       .turns_in_part = true,
       .scalings = kLong,
       .fused_qkv = true,
       .fused_gate_up = true},
      {.name = "qwen2", .families = {"qwen2"}, .qkv = kMust},
      {.name = "qwen3", .families = {"qwen3"}, .free_heads = true, .qkv = kMay},
      {.name = "qwen3moe",
       .families = {"qwen3_moe"},
       .free_heads = true,
       .shares = Shares::kNormalised},
      {.name = "seed_oss", .families = {"seed_oss"}, .free_heads = true, .qkv = kMay},
      {.name = "smollm3",
       .families = {"smollm3"},
       .free_heads = true,
       .qkv = kMay,
       .pairs = Pairs::kReordered},
      {.name = "stablelm",
       .families = {"stablelm"},
       .turns_in_part = true,
       .head = Head::kOwn,
       .qkv = kMay},
      {.name = "starcoder2",
       .families = {"starcoder2"},
       .qkv = kMust,
       .output = kMust,
       .mlp = kMust,
       .activation = Activation::kGeluTanh},
      llama,
      {.name = "mistral3",
       .families = {"llama", "mistral", "ministral3"},
       .free_heads = true,
       .pairs = Pairs::kReordered},
      uneven("deci", llama)};
  return all;
}

}  // namespace

std::vector<const GgufArchitecture*> gguf_architectures(const std::string& family) {
  std::vector<const GgufArchitecture*> found;
  for (const GgufArchitecture& architecture : table()) {
    if (std::ranges::find(architecture.families, family) != architecture.families.end())
      found.push_back(&architecture);
  }
  return found;
}

const GgufArchitecture& gguf_architecture_named(std::string_view name) {
  const auto found = std::ranges::find(table(), name, &GgufArchitecture::name);
  SLICE_FORMAT_CHECK(found != table().end(), "architecture '{}' is not supported", name);
  return *found;
}

}  // namespace slice::models
