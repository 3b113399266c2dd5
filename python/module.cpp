// libslice._slice: the library as the Python files of this room call it. What people call, with its
// arguments and their meaning, is in libslice/door.py.

#include <torch/csrc/utils/pybind.h>

#include "libslice/slicing/report.h"
#include "python/engine.h"
#include "python/errors.h"
#include "python/evaluation.h"
#include "python/generation.h"
#include "python/model.h"
#include "python/python_call.h"
#include "python/slicing.h"
#include "python/windows.h"

PYBIND11_MODULE(_slice, module) {
  using namespace slice::python;
  bind_errors(module);
  bind_progress(module);
  bind_model(module);
  bind_windows(module);
  bind_slicing(module);
  bind_evaluation(module);
  bind_generation(module);
  bind_engine(module);
  hear_warnings();
  module.attr("__version__") = slice::version();
}
