#include "python/engine.h"

#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/slice.h"
#include "python/held_model.h"
#include "python/python_call.h"

namespace slice::python {

namespace py = pybind11;
using Held = std::shared_ptr<HeldModel>;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds kBetweenSignals(50);

/// Waits in steps, between which Ctrl-C is heard. `step` waits as long as it is told and returns
/// whether what it waits for is there. @param seconds  absent: for good
bool wait_for(PythonCall& call, std::optional<double> seconds,
              const std::function<bool(std::chrono::milliseconds)>& step) {
  const std::chrono::duration<double> most(seconds ? std::clamp(*seconds, 0.0, 1e8) : 1e8);
  const auto begin = Clock::now();
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(most - (Clock::now() - begin));
    const auto now = std::clamp(left, std::chrono::milliseconds(0), kBetweenSignals);
    if (step(now)) return true;
    call.hear();
    if (left <= kBetweenSignals) return false;
  }
}

/// An engine, and the models that it runs.
class HeldEngine {
 public:
  HeldEngine(std::vector<HeldModel::Reading> models, EngineOptions options)
      : models_(std::move(models)), engine_(std::make_unique<Engine>(std::move(options))) {
    engine_->warm_up();
  }
  ~HeldEngine() {
    const py::gil_scoped_release release;  // its thread may be about to say a warning
    engine_.reset();
  }
  Engine& operator*() const { return *engine_; }
  /// Afterwards its models are free to be sliced.
  void stop() {
    engine_->stop();
    const std::lock_guard lock(mutex_);
    models_.clear();
  }

 private:
  std::mutex mutex_;  // of the next
  std::vector<HeldModel::Reading> models_;
  std::unique_ptr<Engine> engine_;
};

std::unique_ptr<HeldEngine> start(const std::vector<std::pair<std::string, Held>>& models,
                                  int64_t slots, int64_t capacity, int64_t queue,
                                  int64_t prompt_chunk, int64_t prefix_bytes, int64_t step_tokens,
                                  int threads) {
  return PythonCall().run([&] {
    std::vector<HeldModel::Reading> readings;
    EngineOptions options = {.models = {},
                             .queue = queue,
                             .prompt_chunk = prompt_chunk,
                             .prefix_bytes = prefix_bytes,
                             .step_tokens = step_tokens,
                             .threads = threads};
    for (const auto& [name, held] : models) {
      readings.emplace_back(held);
      options.models.push_back(
          {.name = name, .model = readings.back().shared(), .slots = slots, .capacity = capacity});
    }
    return std::make_unique<HeldEngine>(std::move(readings), std::move(options));
  });
}

/// What Engine.submit takes, by name.
template <typename T>
void take(const py::dict& given, const char* name, T& value) {
  if (given.contains(name)) value = given[name].cast<T>();
}

RequestHandle submit(HeldEngine& engine, const std::string& model, std::vector<int64_t> prompt,
                     const py::dict& given) {
  Request request;
  request.model = model;
  request.prompt = std::move(prompt);
  take(given, "max_tokens", request.options.max_tokens);
  take(given, "temperature", request.options.sampling.temperature);
  take(given, "top_p", request.options.sampling.top_p);
  take(given, "seed", request.options.seed);
  take(given, "texts", request.texts);
  take(given, "stop", request.stop_strings);
  take(given, "stop_tokens", request.options.stop_tokens);
  take(given, "ignore_end_tokens", request.ignore_end_tokens);
  take(given, "logprobs", request.logprobs);
  take(given, "priority", request.priority);
  take(given, "min_p", request.rules.min_p);
  take(given, "top_k", request.rules.top_k);
  take(given, "repetition_penalty", request.rules.repetition_penalty);
  take(given, "presence_penalty", request.rules.presence_penalty);
  take(given, "frequency_penalty", request.rules.frequency_penalty);
  if (given.contains("timeout")) {
    const std::chrono::duration<double> seconds(
        std::clamp(given["timeout"].cast<double>(), 0., 1e8));
    request.deadline = Clock::now() + std::chrono::ceil<std::chrono::milliseconds>(seconds);
  }
  return PythonCall().run([&] { return (*engine).submit(std::move(request)); });
}

std::optional<TextPiece> next(RequestHandle& request, std::optional<double> seconds) {
  PythonCall call;
  return call.run([&] {
    std::optional<TextPiece> piece;
    wait_for(call, seconds, [&](std::chrono::milliseconds most) {
      piece = request.next(most);
      return piece.has_value() || request.finished();
    });
    return piece;
  });
}

bool drain(HeldEngine& engine, std::optional<double> seconds) {
  PythonCall call;
  return call.run([&] {
    return wait_for(call, seconds,
                    [&](std::chrono::milliseconds most) { return (*engine).drain(most); });
  });
}

py::dict usage(const RequestHandle& request) {
  const Usage usage = request.usage();
  py::dict dict;
  dict["prompt_tokens"] = usage.prompt_tokens;
  dict["reused_tokens"] = usage.reused_tokens;
  dict["completion_tokens"] = usage.completion_tokens;
  return dict;
}

py::dict statistics(HeldEngine& engine, const std::string& model) {
  const EngineStatistics s = (*engine).statistics(model);
  py::dict dict;
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, int64_t>>{
           {"waiting", s.waiting},
           {"running", s.running},
           {"slots", s.slots},
           {"cached_positions", s.cached_positions},
           {"positions", s.positions},
           {"submitted", s.submitted},
           {"finished", s.finished},
           {"cancelled", s.cancelled},
           {"expired", s.expired},
           {"failed", s.failed},
           {"refused", s.refused},
           {"prompt_tokens", s.prompt_tokens},
           {"reused_tokens", s.reused_tokens},
           {"completion_tokens", s.completion_tokens},
           {"steps", s.steps}})
    dict[name] = value;
  dict["prompt_seconds"] = s.prompt_seconds;
  dict["step_seconds"] = s.step_seconds;
  return dict;
}

const char* finish_name(const TextPiece& piece) {
  constexpr const char* kNames[] = {"", "stop", "length", "cancelled", "deadline", "error"};
  return kNames[static_cast<size_t>(piece.finish)];
}

std::vector<double> logprobs(const TextPiece& piece) {
  std::vector<double> numbers;
  for (const TokenLogprobs& token : piece.logprobs) numbers.push_back(token.logprob);
  return numbers;
}

}  // namespace

void bind_engine(py::module_& module) {
  py::class_<TextPiece>(module, "TextPiece", "What is new of one text of a request.")
      .def_readonly("index", &TextPiece::index)
      .def_readonly("text", &TextPiece::text)
      .def_readonly("ids", &TextPiece::ids)
      .def_property_readonly("logprobs", &logprobs)
      .def_property_readonly("finish", &finish_name)
      .def_readonly("end_token", &TextPiece::end_token)
      .def_readonly("stop_string", &TextPiece::stop_string)
      .def_readonly("error", &TextPiece::error);
  py::class_<RequestHandle>(module, "RequestHandle")
      .def("next", &next)
      .def("finished", &RequestHandle::finished)
      .def("cancel", &RequestHandle::cancel, py::call_guard<py::gil_scoped_release>())
      .def("usage", &usage);
  py::class_<HeldEngine>(module, "Engine")
      .def(py::init(&start))
      .def("submit", &submit)
      .def("models", [](HeldEngine& engine) { return (*engine).models(); })
      .def("statistics", &statistics)
      .def("drain", &drain)
      .def("close", [](HeldEngine& engine) { PythonCall().run([&] { (*engine).close(); }); })
      .def("stop", [](HeldEngine& engine) { PythonCall().run([&] { engine.stop(); }); });
}

}  // namespace slice::python
