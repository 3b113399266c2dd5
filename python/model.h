#pragma once

#include <c10/core/ScalarType.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

namespace slice::python {

/// Model: a HeldModel with what loads, saves and describes it.
void bind_model(pybind11::module_& module);

/// The type of "fp32", "fp16" or "bf16"; nothing for "keep". @throws ArgumentError  another name
std::optional<at::ScalarType> dtype_of(const std::string& name);

}  // namespace slice::python
