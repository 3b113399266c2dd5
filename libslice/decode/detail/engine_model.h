#pragma once

#include "libslice/decode/batch.h"
#include "libslice/decode/engine.h"

namespace slice::detail {

// What an engine needs to know of a model, libslice's or a user's.

/// nullptr where it has none.
const Tokenizer* tokenizer_of(const EngineModel& model);
/// Tokens that a text may have.
int64_t positions_of(const EngineModel& model);
int64_t step_tokens_of(const EngineModel& model, const EngineOptions& options);
Batch batch_of(const EngineModel& model, const EngineOptions& options);

/// Runs every power of two of slots once, and all, after one prompt of some length: what a GPU
/// captures and its libraries prepare the first time. The batch must be empty.
void run_every_number(Batch& batch, int64_t length);

/// Throws as Engine::submit.
void check_request(const EngineModel& model, const Request& request);

}  // namespace slice::detail
