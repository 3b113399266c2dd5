#include "python/python_call.h"

#include <string>

#include "libslice/base/error.h"
#include "libslice/base/warning.h"

namespace slice::python {

namespace py = pybind11;

void PythonCall::hear(const std::function<void(const py::object&)>& tell) {
  if (!raised_) {
    const py::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (tell && !callback_.is_none()) tell(callback_);
    } catch (py::error_already_set& error) {
      raised_.emplace(std::move(error));
    }
  }
  if (raised_) throw Interrupted("stopped by its caller");
}

OnProgress PythonCall::on_progress() {
  return [this](const Progress& progress) {
    hear([&](const py::object& callback) { callback(progress); });
  };
}

void bind_progress(py::module_& module) {
  py::class_<Progress>(module, "Progress", "How far a long call is.")
      .def_readonly("phase", &Progress::phase)
      .def_readonly("step", &Progress::step)
      .def_readonly("steps", &Progress::steps)
      .def_readonly("kept_variance", &Progress::kept_variance)
      .def_readonly("tokens_per_second", &Progress::tokens_per_second)
      .def_readonly("seconds", &Progress::seconds)
      .def_readonly("eta", &Progress::eta)
      .def_readonly("note", &Progress::note)
      .def("__repr__", [](const Progress& p) {
        return "<Progress " + p.phase + " " + std::to_string(p.step) + "/" +
               std::to_string(p.steps) + ">";
      });
}

void hear_warnings() {
  set_warning_handler([](std::string_view text) {
    const py::gil_scoped_acquire acquire;
    // Where a filter makes it an error there is no caller to raise it in.
    if (PyErr_WarnEx(PyExc_UserWarning, std::string(text).c_str(), 1) != 0)
      PyErr_WriteUnraisable(nullptr);
  });
  // The interpreter goes before the library does.
  py::module_::import("atexit").attr("register")(py::cpp_function([] { set_warning_handler({}); }));
}

}  // namespace slice::python
