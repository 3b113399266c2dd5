#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// generate: one text, in pieces as it comes.
void bind_generation(pybind11::module_& module);

}  // namespace slice::python
