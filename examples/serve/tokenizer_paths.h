#pragma once

#include "examples/serve/fields.h"
#include "examples/serve/served_model.h"

namespace serve {

/// POST /tokenize: `prompt` (vLLM) or `content` (llama.cpp), a text, or `messages`, a conversation.
/// @throws ApiError  400 with the field's name
Json tokenize(const Json& body, const ServedModel& model);
/// POST /detokenize: `tokens`.
Json detokenize(const Json& body, const ServedModel& model);
/// GET /tokenizer_info: special tokens by name, and the chat template.
Json tokenizer_info(const ServedModel& model);

}  // namespace serve
