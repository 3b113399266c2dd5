#pragma once

// What slice_model's report shows of both models' writing.

#include <string>
#include <vector>

#include "slice_plan.h"

namespace cli {

/// The prompts as ids: those of --prompt, else the beginnings of two windows.
/// @param windows  (N, T)
std::vector<std::vector<int64_t>> sample_prompts(const Arguments& arguments, const Plan& plan,
                                                 const at::Tensor& windows);

/// What a model writes after each: the likeliest token, again and again. It runs by its modules: a
/// Generator would lay the weights on a GPU out anew, beside them.
std::vector<std::string> written_after(const slice::Model& model, const slice::Tokenizer& tokenizer,
                                       const std::vector<std::vector<int64_t>>& prompts);

}  // namespace cli
