#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// Windows of texts: mix_windows, whole_text, self_windows.
void bind_windows(pybind11::module_& module);

}  // namespace slice::python
