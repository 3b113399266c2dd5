#include "python/errors.h"

#include <array>
#include <exception>
#include <string>

#include "libslice/base/error.h"
#include "libslice/decode/request.h"

namespace slice::python {

namespace py = pybind11;

namespace {

/// Raises one exception as `type` if it is a T.
using Raise = bool (*)(const std::exception_ptr&, PyObject* type);

template <typename T>
bool raise(const std::exception_ptr& error, PyObject* type) {
  try {
    std::rethrow_exception(error);
  } catch (const T& caught) {
    PyErr_SetString(type, caught.what());
    return true;
  } catch (...) {
    return false;
  }
}

struct Kind {
  const char* name;
  const char* base;  // one that stands before it
  Raise raise;
  const char* meaning;
};

// A kind comes after its base.
constexpr Kind kKinds[] = {
    {"Error", nullptr, raise<Error>, "Root of everything that libslice raises."},
    {"ShapeError", "Error", raise<ShapeError>, "A tensor has the wrong shape."},
    {"ArgumentError", "Error", raise<ArgumentError>,
     "An argument is out of its range or contradicts another."},
    {"DtypeError", "Error", raise<DtypeError>, "A tensor has the wrong element type."},
    {"DeviceError", "Error", raise<DeviceError>,
     "A tensor is on the wrong device, or the device asked for is not there."},
    {"FormatError", "Error", raise<FormatError>,
     "A file or state dict is missing, malformed or not supported."},
    {"NumericError", "Error", raise<NumericError>,
     "A NaN or Inf where numbers were wanted, or a solver that did not converge."},
    {"CudaError", "Error", raise<CudaError>, "A call of the CUDA libraries failed."},
    {"Interrupted", "Error", raise<Interrupted>, "The caller asked to stop."},
    {"UnknownModel", "ArgumentError", raise<UnknownModel>, "No model of an engine has this name."},
    {"QueueFull", "Error", raise<QueueFull>,
     "The engine has as many requests as it may: try later."},
    {"EngineClosed", "Error", raise<EngineClosed>, "The engine takes no requests any more."}};

std::array<PyObject*, std::size(kKinds)> types;  // never freed: exceptions outlive modules

PyObject* type_of(const std::string& name) {
  for (size_t i = 0; i < std::size(kKinds); ++i)
    if (kKinds[i].name == name) return types[i];
  return PyExc_RuntimeError;
}

void translate(std::exception_ptr error) {
  for (size_t i = std::size(kKinds); i-- > 0;)  // the particular ones before their roots
    if (kKinds[i].raise(error, types[i])) return;
  std::rethrow_exception(error);
}

}  // namespace

void bind_errors(py::module_& module) {
  for (size_t i = 0; i < std::size(kKinds); ++i) {
    const Kind& kind = kKinds[i];
    PyObject* base = type_of(kind.base == nullptr ? "" : kind.base);
    types[i] = PyErr_NewExceptionWithDoc((std::string("libslice.") + kind.name).c_str(),
                                         kind.meaning, base, nullptr);
    if (types[i] == nullptr) throw py::error_already_set();
    module.attr(kind.name) = py::handle(types[i]);
  }
  py::register_local_exception_translator(translate);
}

}  // namespace slice::python
