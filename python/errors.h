#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// The library's exceptions under their own names, Error the root of all and a RuntimeError. What
/// LibTorch throws stays a RuntimeError, what memory lacks a MemoryError.
void bind_errors(pybind11::module_& module);

}  // namespace slice::python
