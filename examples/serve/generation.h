#pragma once

#include <string>

#include "examples/serve/fields.h"
#include "examples/serve/served_model.h"
#include "libslice/decode/request.h"

namespace serve {

/// What completions and chats have in common: everything of a request but its prompt and what is
/// shown of its log-probabilities. Defaults are OpenAI's; where the request has no seed, it is
/// random.
/// @param absent_tokens  max_tokens where the request does not say
/// @throws ApiError  400 with the field's name
slice::Request read_generation(const Json& body, const ServedModel& model, int64_t absent_tokens);

/// @throws ApiError  404: another model than this; 400: no string
void check_model(const Json& body, const ServedModel& model);

/// @throws ApiError  400: the prompt leaves no room for a token, or is empty
void check_prompt(const std::vector<int64_t>& prompt, const ServedModel& model,
                  const std::string& field);

/// Whether the answer is a stream, and whether that ends with the usage.
struct Streaming {
  bool stream = false, usage = false;
};
Streaming read_streaming(const Json& body);

}  // namespace serve
