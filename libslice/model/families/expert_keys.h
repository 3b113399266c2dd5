#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "libslice/model/config.h"
#include "libslice/model/families/family.h"

namespace slice::models {

/// What families with experts in every layer share.

/// Module paths of Qwen3-MoE and OLMoE: LLaMA's, with a router and numbered experts.
const Names& expert_names();

/// Number of experts, and how many of them a token goes through, from `num_local_experts` or
/// `num_experts` and from `num_experts_per_tok`; `otherwise` for missing keys.
/// @throws FormatError  also for no experts, and for two numbers that differ
ExpertSizes parse_experts(const nlohmann::json& object, const ExpertSizes& otherwise,
                          const std::string& origin);
/// Writes the same keys.
void write_experts(const ModelConfig& config, nlohmann::json& object);

}  // namespace slice::models
