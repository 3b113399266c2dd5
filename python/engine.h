#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// Engine, RequestHandle and TextPiece.
void bind_engine(pybind11::module_& module);

}  // namespace slice::python
