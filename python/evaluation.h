#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// score_windows, score_text, evaluate_task, task_names.
void bind_evaluation(pybind11::module_& module);

}  // namespace slice::python
