#include "libslice/slice_c.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "libslice/slice.h"

struct slice_engine {
  std::shared_ptr<const slice::Model> model;
  std::unique_ptr<slice::Engine> engine;
};

struct slice_request {
  slice::RequestHandle handle;
  slice::TextPiece piece = {};  // the last one that was given
  std::vector<double> logprobs = {};
};

namespace {

thread_local std::string last_error;
thread_local slice_status last_status = SLICE_OK;

slice_status status_of_current_exception() {
  try {
    throw;
  } catch (const slice::UnknownModel&) {
    return SLICE_UNKNOWN_MODEL;
  } catch (const slice::ArgumentError&) {
    return SLICE_BAD_ARGUMENT;
  } catch (const slice::FormatError&) {
    return SLICE_BAD_FILE;
  } catch (const slice::QueueFull&) {
    return SLICE_QUEUE_FULL;
  } catch (const slice::EngineClosed&) {
    return SLICE_CLOSED;
  } catch (...) {
    return SLICE_ERROR;
  }
}

void note_error() noexcept {
  last_status = SLICE_ERROR;
  try {
    last_status = status_of_current_exception();
    throw;
  } catch (const std::exception& error) {
    const char* text = error.what();
    last_error.clear();
    try {
      last_error.assign(text, std::strcspn(text, "\n"));
    } catch (...) {  // no memory for the message
    }
  } catch (...) {
    last_error.clear();
  }
}

/// What `body` returns, or `failure` where it throws.
template <typename Result, typename Body>
Result guarded(Result failure, Body&& body) noexcept {
  last_error.clear();
  last_status = SLICE_OK;
  try {
    return body();
  } catch (...) {
    note_error();
    return failure;
  }
}

template <typename Body>
int guarded_status(Body&& body) noexcept {
  const int status = guarded<int>(SLICE_ERROR, body);
  return last_status == SLICE_OK ? status : last_status;
}

void want(bool holds, const char* message) {
  if (!holds) throw slice::ArgumentError(message);
}

/// A structure of a program that may be older or newer than this library.
template <typename Options>
Options known(const Options* given, void (*init)(Options*)) {
  want(given != nullptr, "options: NULL");
  want(given->size >= sizeof(size_t) && given->size <= (size_t{1} << 16),
       "options: no size, use the _init function");
  Options options;
  init(&options);
  std::memcpy(&options, given, std::min(given->size, sizeof options));
  return options;
}

std::chrono::milliseconds timeout(int64_t ms) {
  const std::chrono::milliseconds forever = slice::RequestHandle::kForever;
  return ms < 0 ? forever : std::min(forever, std::chrono::milliseconds(ms));
}

std::vector<int64_t> prompt_of(const slice_engine& engine, const slice_request_options& o) {
  want((o.text != nullptr) + (o.messages != nullptr) + (o.ids != nullptr) == 1,
       "prompt: want one of text, messages and ids");
  if (o.ids != nullptr) return {o.ids, o.ids + o.id_count};
  const slice::Tokenizer& tokenizer = engine.model->tokenizer();
  if (o.text != nullptr) return slice::encode_prompt(tokenizer, {o.text, o.text_size});
  std::vector<slice::ChatMessage> messages;
  for (const slice_message& m : std::span(o.messages, o.message_count)) {
    want(m.role != nullptr && m.content != nullptr, "messages: want a role and a content in each");
    messages.push_back({m.role, m.content});
  }
  return slice::encode_chat(tokenizer, messages);
}

slice::Request request_of(const slice_engine& engine, const slice_request_options& o) {
  slice::Request request;
  request.prompt = prompt_of(engine, o);
  request.options.max_tokens = o.max_tokens;
  request.options.sampling = {.temperature = o.temperature, .top_p = o.top_p};
  request.options.seed = o.seed;
  request.texts = o.texts;
  request.rules.repetition_penalty = o.repetition_penalty;
  request.rules.presence_penalty = o.presence_penalty;
  request.rules.frequency_penalty = o.frequency_penalty;
  request.rules.min_p = o.min_p;
  request.rules.top_k = o.top_k;
  for (const char* string : std::span(o.stop_strings, o.stop_string_count)) {
    want(string != nullptr, "stop strings: one is NULL");
    request.stop_strings.emplace_back(string);
  }
  request.priority = o.priority;
  if (o.timeout_ms >= 0)
    request.deadline = std::chrono::steady_clock::now() + timeout(o.timeout_ms);
  if (o.logprobs >= 0) request.logprobs = 0;
  request.ignore_end_tokens = o.ignore_end_tokens != 0;
  return request;
}

}  // namespace

const char* slice_last_error(void) { return last_error.c_str(); }
slice_status slice_last_status(void) { return last_status; }

const char* slice_library_version(void) {
  static const std::string version = slice::version();
  return version.c_str();
}

void slice_engine_options_init(slice_engine_options* options) {
  const slice::EngineOptions engine;
  const slice::EngineModel model;
  *options = {.size = sizeof *options,
              .model = nullptr,
              .name = nullptr,
              .device = nullptr,
              .slots = model.slots,
              .capacity = model.capacity,
              .queue = engine.queue,
              .prompt_chunk = engine.prompt_chunk,
              .prefix_bytes = engine.prefix_bytes,
              .step_tokens = engine.step_tokens,
              .threads = engine.threads};
}

slice_engine* slice_engine_load(const slice_engine_options* given) {
  return guarded<slice_engine*>(nullptr, [&] {
    const slice_engine_options o = known(given, slice_engine_options_init);
    want(o.model != nullptr, "slice_engine_load: no model");
    const std::optional<at::Device> device =
        o.device == nullptr ? std::nullopt : slice::parse_device(o.device);
    auto model = std::make_shared<const slice::Model>(
        slice::load_model(o.model, {.device = slice::choose_device(device)}));
    slice::EngineOptions options;
    options.models = {{.name = o.name == nullptr ? o.model : o.name,
                       .model = model,
                       .slots = o.slots,
                       .capacity = o.capacity}};
    options.queue = o.queue;
    options.prompt_chunk = o.prompt_chunk;
    options.prefix_bytes = o.prefix_bytes;
    options.step_tokens = o.step_tokens;
    options.threads = o.threads;
    auto engine = std::make_unique<slice::Engine>(std::move(options));
    engine->warm_up();
    return new slice_engine{std::move(model), std::move(engine)};
  });
}

int slice_engine_drain(slice_engine* engine, int64_t timeout_ms) {
  return guarded_status([&] {
    want(engine != nullptr, "slice_engine_drain: no engine");
    return engine->engine->drain(timeout(timeout_ms)) ? SLICE_OK : SLICE_NOTHING_YET;
  });
}

void slice_engine_free(slice_engine* engine) { delete engine; }

int64_t slice_tokenize(const slice_engine* engine, const char* text, size_t text_size, int64_t* ids,
                       int64_t capacity) {
  const int64_t count = guarded<int64_t>(SLICE_ERROR, [&] {
    want(engine != nullptr && text != nullptr && (ids != nullptr || capacity <= 0),
         "slice_tokenize: no engine, no text or nowhere to write");
    const std::vector<int64_t> all =
        slice::encode_prompt(engine->model->tokenizer(), {text, text_size});
    std::copy_n(all.begin(), std::clamp<int64_t>(capacity, 0, std::ssize(all)), ids);
    return static_cast<int64_t>(all.size());
  });
  return last_status == SLICE_OK ? count : int64_t{last_status};
}

void slice_request_options_init(slice_request_options* options) {
  const slice::Request request;
  *options = {};
  options->size = sizeof *options;
  options->max_tokens = request.options.max_tokens;
  options->texts = request.texts;
  options->top_p = request.options.sampling.top_p;
  options->repetition_penalty = request.rules.repetition_penalty;
  options->timeout_ms = options->logprobs = -1;
}

slice_request* slice_submit(slice_engine* engine, const slice_request_options* given) {
  return guarded<slice_request*>(nullptr, [&] {
    want(engine != nullptr, "slice_submit: no engine");
    const slice_request_options o = known(given, slice_request_options_init);
    return new slice_request{engine->engine->submit(request_of(*engine, o))};
  });
}

int slice_poll(slice_request* request, int64_t timeout_ms, slice_piece* piece) {
  return guarded_status([&] {
    want(request != nullptr && piece != nullptr, "slice_poll: no request or piece");
    auto next = request->handle.next(timeout(timeout_ms));
    if (!next) return request->handle.finished() ? SLICE_OVER : SLICE_NOTHING_YET;
    slice::TextPiece& p = request->piece = std::move(*next);
    request->logprobs.clear();
    for (const slice::TokenLogprobs& token : p.logprobs) request->logprobs.push_back(token.logprob);
    *piece = {.index = p.index,
              .text = p.text.c_str(),
              .text_size = p.text.size(),
              .ids = p.ids.data(),
              .id_count = p.ids.size(),
              .logprobs = p.logprobs.empty() ? nullptr : request->logprobs.data(),
              .finish = static_cast<slice_finish>(p.finish),
              .stop_string = p.stop_string.c_str(),
              .error = p.error.c_str()};
    return SLICE_OK;
  });
}

void slice_cancel(slice_request* request) {
  if (request != nullptr) request->handle.cancel();
}

int slice_request_usage(const slice_request* request, slice_usage* usage) {
  return guarded_status([&] {
    want(request != nullptr && usage != nullptr, "slice_request_usage: no request");
    const slice::Usage u = request->handle.usage();
    *usage = {u.prompt_tokens, u.reused_tokens, u.completion_tokens};
    return SLICE_OK;
  });
}

void slice_request_free(slice_request* request) { delete request; }
