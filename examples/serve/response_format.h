#pragma once

#include "examples/serve/fields.h"
#include "examples/serve/served_model.h"
#include "libslice/decode/request.h"

namespace serve {

/// `response_format` of a request: none for "text", else a grammar that lets only such tokens come
/// as keep each of its texts a beginning of JSON of that form, and an end token only after it.
/// @throws ApiError  400: an unknown form, an unsupported schema, a model without end tokens
slice::Constraint read_response_format(const Json& body, const ServedModel& model, int64_t texts);

}  // namespace serve
