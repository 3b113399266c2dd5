#pragma once

#include <pybind11/pybind11.h>

namespace slice::python {

/// SliceOptions, and slice_model.
void bind_slicing(pybind11::module_& module);

}  // namespace slice::python
