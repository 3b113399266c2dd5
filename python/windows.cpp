#include "python/windows.h"

#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "libslice/slice.h"
#include "python/held_model.h"
#include "python/python_call.h"

namespace slice::python {

namespace py = pybind11;
using Held = std::shared_ptr<HeldModel>;

namespace {

/// Windows (N, T) of several texts, and the text of each.
std::tuple<at::Tensor, std::vector<int64_t>> windows(const Held& held,
                                                     const std::vector<std::string>& paths,
                                                     int64_t context,
                                                     std::optional<int64_t> samples, bool first,
                                                     std::optional<bool> bos) {
  return PythonCall().run([&] {
    const HeldModel::Reading model(held);
    MixedWindows mixed = mix_windows(model->tokenizer(), paths,
                                     {.context = context,
                                      .samples = samples,
                                      .order = first ? WindowOrder::kFirst : WindowOrder::kSpread,
                                      .bos = bos});
    return std::tuple(mixed.tokens, mixed.text_of);
  });
}

at::Tensor whole(const Held& held, const std::string& path, std::optional<bool> bos) {
  return PythonCall().run(
      [&] { return tokenize_whole_file(HeldModel::Reading(held)->tokenizer(), path, bos); });
}

at::Tensor own(const Held& held, int64_t count, int64_t context, int64_t begin, uint64_t seed,
               const py::object& on_progress) {
  PythonCall call(on_progress);
  return call.run([&] {
    return self_windows(*HeldModel::Reading(held), count, context, begin, seed, call.on_progress());
  });
}

}  // namespace

void bind_windows(py::module_& module) {
  module.def("mix_windows", &windows);
  module.def("whole_text", &whole);
  module.def("self_windows", &own);
}

}  // namespace slice::python
