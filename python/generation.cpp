#include "python/generation.h"

#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libslice/slice.h"
#include "python/held_model.h"
#include "python/python_call.h"

namespace slice::python {

namespace py = pybind11;

namespace {

/// Continues a prompt. @param on_text  called with each piece of text, or of a model without a
/// tokenizer with each id; False ends the text
/// @return  the text and the new ids
std::pair<std::string, std::vector<int64_t>> write(const std::shared_ptr<HeldModel>& held,
                                                   const std::vector<int64_t>& prompt,
                                                   int64_t max_tokens, double temperature,
                                                   double top_p, uint64_t seed,
                                                   bool ignore_end_tokens,
                                                   const py::object& on_text) {
  PythonCall call(on_text);
  return call.run([&] {
    const HeldModel::Reading model(held);
    GenerateOptions options = {.max_tokens = max_tokens,
                               .sampling = {.temperature = temperature, .top_p = top_p},
                               .seed = seed};
    std::optional<IncrementalDecoder> decoder;
    if (model->has_tokenizer()) {
      decoder.emplace(model->tokenizer(), prompt);
      if (!ignore_end_tokens) options.stop_tokens = model->tokenizer().eos_tokens();
    } else if (!ignore_end_tokens) {
      options.stop_tokens = model->config().eos_tokens;
    }
    std::string text;
    bool wanted = true;
    const auto tell = [&](const std::string& piece, std::optional<int64_t> id) {
      text += piece;
      call.hear([&](const py::object& callback) {
        if (decoder && piece.empty()) return;
        const py::object answer = decoder ? callback(piece) : id ? callback(*id) : py::none();
        if (answer.is(py::bool_(false))) wanted = false;
      });
      return wanted;
    };
    std::vector<int64_t> ids = generate(*model, prompt, options, [&](int64_t id) {
      return tell(decoder ? decoder->push(id) : "", id);
    });
    if (decoder && wanted) tell(decoder->finish(), std::nullopt);
    return std::pair(std::move(text), std::move(ids));
  });
}

}  // namespace

void bind_generation(py::module_& module) { module.def("generate", &write); }

}  // namespace slice::python
