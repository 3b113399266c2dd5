// A backend of Triton: each request is a text to be continued, each response a piece of it. The
// engine has a thread of its own, so that executing a request only puts it into the queue.

#include <libslice/slice.h>
#include <triton/core/tritonbackend.h>

#include <cstring>
#include <filesystem>
#include <string>

namespace {

using Error = TRITONSERVER_Error*;

Error error_of(TRITONSERVER_Error_Code code, const std::string& message) {
  return TRITONSERVER_ErrorNew(code, message.c_str());
}

/// Runs `body`, which returns nothing; nothing but an Error leaves it.
template <typename Body>
Error guarded(Body&& body) {
  try {
    body();
    return nullptr;
  } catch (const slice::ArgumentError& error) {
    return error_of(TRITONSERVER_ERROR_INVALID_ARG, error.what());
  } catch (const slice::QueueFull& error) {
    return error_of(TRITONSERVER_ERROR_UNAVAILABLE, error.what());
  } catch (const std::exception& error) {
    return error_of(TRITONSERVER_ERROR_INTERNAL, error.what());
  } catch (...) {
    return error_of(TRITONSERVER_ERROR_UNKNOWN, "an exception of an unknown type");
  }
}

/// Triton's errors as exceptions, within this file.
void want(Error error) {
  if (error == nullptr) return;
  const std::string message = TRITONSERVER_ErrorMessage(error);
  TRITONSERVER_ErrorDelete(error);
  throw slice::Error(message);
}

/// Where an error can no longer be told to anybody.
void drop(Error error) {
  if (error != nullptr) TRITONSERVER_ErrorDelete(error);
}

struct Served {
  std::shared_ptr<const slice::Model> model;
  std::unique_ptr<slice::Engine> engine;
};

/// Bytes of an input; empty where the request has none of this name.
std::string bytes_of(TRITONBACKEND_Request* request, const char* name) {
  TRITONBACKEND_Input* input = nullptr;
  if (Error missing = TRITONBACKEND_RequestInput(request, name, &input)) return drop(missing), "";
  uint32_t buffers = 0;
  want(TRITONBACKEND_InputProperties(input, nullptr, nullptr, nullptr, nullptr, nullptr, &buffers));
  std::string bytes;
  for (uint32_t i = 0; i < buffers; ++i) {
    const void* data = nullptr;
    uint64_t size = 0;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t type_id = 0;
    want(TRITONBACKEND_InputBuffer(input, i, &data, &size, &type, &type_id));
    if (type == TRITONSERVER_MEMORY_GPU) throw slice::Error("want inputs in host memory");
    bytes.append(static_cast<const char*>(data), size);
  }
  return bytes;
}

template <typename T>
T number_of(TRITONBACKEND_Request* request, const char* name, T otherwise) {
  const std::string bytes = bytes_of(request, name);
  if (bytes.size() >= sizeof(T)) std::memcpy(&otherwise, bytes.data(), sizeof(T));
  return otherwise;
}

/// Sends a piece of text: a string is four bytes of its length and itself.
void send(TRITONBACKEND_ResponseFactory* factory, const slice::TextPiece& piece) {
  TRITONBACKEND_Response* response = nullptr;
  want(TRITONBACKEND_ResponseNewFromFactory(&response, factory));
  Error error = guarded([&] {
    const int64_t shape[] = {1};
    TRITONBACKEND_Output* output = nullptr;
    want(TRITONBACKEND_ResponseOutput(response, &output, "text_output", TRITONSERVER_TYPE_BYTES,
                                      shape, 1));
    const auto length = static_cast<uint32_t>(piece.text.size());
    void* data = nullptr;
    TRITONSERVER_MemoryType type = TRITONSERVER_MEMORY_CPU;
    int64_t type_id = 0;
    want(TRITONBACKEND_OutputBuffer(output, &data, sizeof length + length, &type, &type_id));
    if (type == TRITONSERVER_MEMORY_GPU) throw slice::Error("want outputs in host memory");
    std::memcpy(data, &length, sizeof length);
    std::memcpy(static_cast<char*>(data) + sizeof length, piece.text.data(), length);
    if (piece.finish == slice::Finish::kError) throw slice::Error(piece.error);
  });
  const bool last = piece.finish != slice::Finish::kNone;
  const Error sent =
      TRITONBACKEND_ResponseSend(response, last ? TRITONSERVER_RESPONSE_COMPLETE_FINAL : 0, error);
  drop(error);
  want(sent);
}

void submit(const Served& served, TRITONBACKEND_Request* given) {
  slice::Request request;
  std::string text = bytes_of(given, "text_input");
  request.prompt = served.model->tokenizer().encode(text.size() < 4 ? text : text.substr(4));
  request.options.max_tokens = number_of<int32_t>(given, "max_tokens", 128);
  request.options.sampling.temperature = number_of<float>(given, "temperature", 0);
  request.options.seed = number_of<uint64_t>(given, "seed", 0);
  TRITONBACKEND_ResponseFactory* made = nullptr;
  want(TRITONBACKEND_ResponseFactoryNew(&made, given));
  const std::shared_ptr<TRITONBACKEND_ResponseFactory> factory(
      made, [](auto* f) { drop(TRITONBACKEND_ResponseFactoryDelete(f)); });
  request.on_piece = [factory](const slice::TextPiece& piece) {
    bool cancelled = false;
    drop(TRITONBACKEND_ResponseFactoryIsCancelled(factory.get(), &cancelled));
    if (!cancelled) return send(factory.get(), piece);
    drop(TRITONBACKEND_ResponseFactorySendFlags(factory.get(),
                                                TRITONSERVER_RESPONSE_COMPLETE_FINAL));
    throw slice::Interrupted("the client has gone");
  };
  served.engine->submit(std::move(request));
}

}  // namespace

extern "C" {

TRITONSERVER_Error* TRITONBACKEND_ModelInitialize(TRITONBACKEND_Model* model) {
  return guarded([&] {
    TRITONBACKEND_ArtifactType type;
    const char* place = nullptr;
    uint64_t version = 0;
    want(TRITONBACKEND_ModelRepository(model, &type, &place));
    want(TRITONBACKEND_ModelVersion(model, &version));
    std::filesystem::path path = std::filesystem::path(place) / std::to_string(version);
    if (std::filesystem::exists(path / "model.gguf")) path /= "model.gguf";
    auto served = std::make_unique<Served>();
    served->model = std::make_shared<const slice::Model>(
        slice::load_model(path, {.device = slice::choose_device()}));
    served->engine = std::make_unique<slice::Engine>(
        slice::EngineOptions{.models = {{.name = "model", .model = served->model, .slots = 16}}});
    served->engine->warm_up();
    want(TRITONBACKEND_ModelSetState(model, served.get()));
    served.release();  // NOLINT: TRITONBACKEND_ModelFinalize deletes it
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelFinalize(TRITONBACKEND_Model* model) {
  return guarded([&] {
    void* state = nullptr;
    want(TRITONBACKEND_ModelState(model, &state));
    delete static_cast<Served*>(state);
  });
}

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance* instance,
                                                       TRITONBACKEND_Request** requests,
                                                       const uint32_t count) {
  void* state = nullptr;
  Error error = guarded([&] {
    TRITONBACKEND_Model* model = nullptr;
    want(TRITONBACKEND_ModelInstanceModel(instance, &model));
    want(TRITONBACKEND_ModelState(model, &state));
  });
  if (error != nullptr) return error;  // the requests stay Triton's
  for (uint32_t i = 0; i < count; ++i) {
    if (Error refused = guarded([&] { submit(*static_cast<Served*>(state), requests[i]); })) {
      TRITONBACKEND_Response* response = nullptr;
      drop(TRITONBACKEND_ResponseNew(&response, requests[i]));
      drop(TRITONBACKEND_ResponseSend(response, TRITONSERVER_RESPONSE_COMPLETE_FINAL, refused));
      drop(refused);
    }
    drop(TRITONBACKEND_RequestRelease(requests[i], TRITONSERVER_REQUEST_RELEASE_ALL));
  }
  return nullptr;
}

}  // extern "C"
