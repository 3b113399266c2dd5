#include "python/slicing.h"

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
using Held = std::shared_ptr<HeldModel>;

namespace {

/// Slices a model in place. @return  the report's JSON
std::string slice_held(const Held& held, const at::Tensor& tokens,
                       const std::vector<std::pair<std::string, double>>& texts,
                       const std::vector<int64_t>& text_of, const SliceOptions& options,
                       const std::string& name, const py::object& on_progress) {
  PythonCall call(on_progress);
  return call.run([&] {
    std::vector<CalibrationText> named;
    for (const auto& [text, weight] : texts) named.push_back({.name = text, .weight = weight});
    const CalibrationWindows windows(tokens, named, text_of);
    HeldModel::Slicing slicing(*held);
    Model model = slicing.model();
    try {
      SliceReport report = slice_model(model, windows, options, call.on_progress());
      slicing.done();
      report.model = name;
      return report_json(report);
    } catch (const ArgumentError&) {  // refused before a weight was touched
      slicing.done();
      throw;
    } catch (const ShapeError&) {
      slicing.done();
      throw;
    }
  });
}

void set_shortcut(SliceOptions& options, const std::string& name, int64_t rank) {
  for (const auto form :
       {ShortcutForm::kDense, ShortcutForm::kDiagonal, ShortcutForm::kLowRank, ShortcutForm::kNone})
    if (shortcut_name(form) == name) options.shortcut = form;
  if (!options.shortcut)
    throw ArgumentError("shortcut: want auto, none, diagonal, lowrank:R or dense, got " + name);
  options.shortcut_rank = rank;
}

}  // namespace

void bind_slicing(py::module_& module) {
  py::class_<SliceOptions>(module, "SliceOptions")
      .def(py::init<>())
      .def_readwrite("slice", &SliceOptions::slice)
      .def_readwrite("kept", &SliceOptions::kept)
      .def_readwrite("round", &SliceOptions::round)
      .def_readwrite("keep_tie", &SliceOptions::keep_tie)
      .def_readwrite("ffn_sizes", &SliceOptions::ffn_sizes)
      .def_readwrite("gradient_samples", &SliceOptions::gradient_samples)
      .def_readwrite("seed", &SliceOptions::seed)
      .def_readwrite("tf32", &SliceOptions::tf32)
      .def_readwrite("recover", &SliceOptions::recover)
      .def_readwrite("remove", &SliceOptions::remove)
      .def_readwrite("remove_blocks", &SliceOptions::remove_blocks)
      .def_readwrite("fit_bytes", &SliceOptions::fit_bytes)
      .def_readwrite("fit_context", &SliceOptions::fit_context)
      .def_readwrite("fit_batch", &SliceOptions::fit_batch)
      .def("set_slicegpt", [](SliceOptions& o) { o.method = Method::kSliceGpt; })
      .def("set_free_layout", [](SliceOptions& o) { o.layout = Layout::kFree; })
      .def("set_sliced_head", [](SliceOptions& o) { o.head = HeadMode::kSlice; })
      .def("set_shortcut", &set_shortcut);
  module.def("slice_model", &slice_held);
}

}  // namespace slice::python
