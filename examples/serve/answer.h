#pragma once

#include <httplib.h>

#include <memory>

#include "examples/serve/call.h"
#include "examples/serve/metrics.h"

namespace serve {

/// Has the engine write the texts of a call and answers with them: as one object, or as a stream of
/// server-sent events, of which each holds what is new. Ends the texts where the client is gone.
/// @throws ApiError  refused by the engine, a text that failed, a deadline that came
void answer(Call call, const ServedModel& model, Metrics& metrics, httplib::Response& response);

}  // namespace serve
