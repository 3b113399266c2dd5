#include "libslice/decode/detail/engine_model.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <utility>

#include "libslice/base/detail/check.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/user_decoder.h"
#include "libslice/model/decoder.h"
#include "libslice/text/stop_strings.h"

namespace slice::detail {

namespace {

/// libslice's model, of a divided one without its weights; nullptr of a user's.
const Model* model_of(const EngineModel& model) {
  return model.divided ? &model.divided->whole() : model.model.get();
}

at::Device device_of(const EngineModel& model) {
  if (model.divided) return model.divided->devices()[0];
  return model.model ? model.model->decoder().device() : model.decoder->device();
}

int64_t vocabulary_of(const EngineModel& model) {
  const Model* own = model_of(model);
  return own != nullptr ? own->config().vocabulary_size : model.decoder->vocabulary_size();
}

}  // namespace

const Tokenizer* tokenizer_of(const EngineModel& model) {
  if (model.tokenizer) return model.tokenizer.get();
  const Model* own = model_of(model);
  return own != nullptr && own->has_tokenizer() ? &own->tokenizer() : nullptr;
}

int64_t positions_of(const EngineModel& model) {
  const Model* own = model_of(model);
  return std::min(model.capacity,
                  own != nullptr ? own->decoder().positions() : model.decoder->positions);
}

int64_t step_tokens_of(const EngineModel& model, const EngineOptions& options) {
  if (options.step_tokens > 0) return options.step_tokens;
  return device_of(model).is_cuda() ? 4 : 1;
}

Batch batch_of(const EngineModel& model, const EngineOptions& options) {
  if (model.divided) return Batch(*model.divided, model.slots, model.capacity);
  if (!model.model) return Batch(*model.decoder, model.slots, model.capacity);
  return Batch(*model.model, model.slots, model.capacity, {.prefix_bytes = options.prefix_bytes});
}

void run_every_number(Batch& batch, int64_t length) {
  for (int64_t count = 1;; count = std::min(2 * count, batch.slots())) {
    for (int64_t i = 0; i < count; ++i) {
      batch.add(std::vector<int64_t>(static_cast<size_t>(length), 0), {.max_tokens = 1});
      length = 1;
    }
    batch.step();
    if (count == batch.slots()) return;
  }
}

void check_request(const EngineModel& model, const Request& request) {
  const int64_t length = std::ssize(request.prompt), V = vocabulary_of(model);
  const int64_t positions = positions_of(model);
  SLICE_ARGUMENT_CHECK(length > 0, "prompt: it has no tokens");
  SLICE_ARGUMENT_CHECK(length < positions,
                       "prompt: {} tokens leave no room for one more among {} positions", length,
                       positions);
  for (const int64_t id : request.prompt)
    SLICE_ARGUMENT_CHECK(id >= 0 && id < V, "prompt: want ids in [0, {}), got {}", V, id);
  SLICE_ARGUMENT_CHECK(request.options.max_tokens >= 0, "max_tokens: want at least 0, got {}",
                       request.options.max_tokens);
  check_sampling(request.options.sampling);
  check_rules(request.rules, V);
  const StopStrings checked(request.stop_strings);
  SLICE_ARGUMENT_CHECK(request.texts >= 1 && request.texts <= kMostTexts,
                       "texts: want 1 … {}, got {}", kMostTexts, request.texts);
  for (const auto& [name, count] : {std::pair("logprobs", request.logprobs),
                                    std::pair("prompt_logprobs", request.prompt_logprobs)})
    SLICE_ARGUMENT_CHECK(!count || (*count >= 0 && *count <= kMostLogprobs),
                         "{}: want 0 … {}, got {}", name, kMostLogprobs, *count);
}

}  // namespace slice::detail
