#pragma once

#include <memory>
#include <vector>

#include "examples/serve/answer_form.h"
#include "examples/serve/generation.h"
#include "libslice/decode/request.h"

namespace serve {

/// A request of a client, understood: what the engine is to do, and how its texts are shown.
struct Call {
  std::vector<slice::Request> requests;  ///< a prompt each
  std::unique_ptr<AnswerForm> form;
  Streaming streaming;
};

/// POST /v1/completions. @throws ApiError  400 with the field's name, 404 for another model
Call read_completion(const Json& body, const ServedModel& model);
/// POST /v1/chat/completions. @throws ApiError  the same
Call read_chat(const Json& body, const ServedModel& model);

}  // namespace serve
