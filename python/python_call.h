#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <optional>
#include <utility>

#include "libslice/base/progress.h"

namespace slice::python {

/// One call of the library on behalf of Python: Python's other threads run meanwhile, its callbacks
/// and Ctrl-C are heard between steps, and what these raise comes out as it was raised.
class PythonCall {
 public:
  /// @param callback  of the caller, or None
  explicit PythonCall(pybind11::object callback = pybind11::none())
      : callback_(std::move(callback)) {}

  /// What `work` returns, run without the interpreter's lock. It may use no Python objects but in
  /// hear().
  template <typename Work>
  auto run(Work&& work) {
    try {
      const pybind11::gil_scoped_release release;
      return work();
    } catch (...) {
      if (raised_) throw std::move(*raised_);
      throw;
    }
  }

  /// Within run(): takes the lock, lets signals be handled, and hands the callback to `tell`, if
  /// there is one.
  /// @throws Interrupted  a signal's handler or `tell` raised: run() raises that
  void hear(const std::function<void(const pybind11::object&)>& tell = {});

  /// on_progress for the library: calls the callback with each step, a Progress. The call has to
  /// outlive it.
  OnProgress on_progress();

 private:
  pybind11::object callback_;
  std::optional<pybind11::error_already_set> raised_;
};

/// Progress.
void bind_progress(pybind11::module_& module);
/// From now on warnings of the library are Python's, UserWarnings.
void hear_warnings();

}  // namespace slice::python
