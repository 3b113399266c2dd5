#pragma once

#include <string>

#include "libslice/base/error.h"

namespace slice::detail {

/// The result of a step; a NumericError of it says in which part of the model.
template <typename Step>
auto named(const std::string& part, Step&& step) {
  try {
    return step();
  } catch (const NumericError& error) {
    throw NumericError(part + ": " + error.what());
  }
}

}  // namespace slice::detail
