#pragma once

#include "libslice/base/detail/formatted.h"
#include "libslice/base/error.h"

/// Throws `Type` with a formatted message unless `condition` holds. Evaluates its arguments once.
#define SLICE_CHECK_AS(Type, condition, ...)                               \
  do {                                                                     \
    if (!(condition)) throw Type(::slice::detail::formatted(__VA_ARGS__)); \
  } while (0)

/// Checks of a tensor's shape: SLICE_CHECK(x.dim() == 2, "{}: want a matrix", name).
#define SLICE_CHECK(condition, ...) SLICE_CHECK_AS(::slice::ShapeError, condition, __VA_ARGS__)

/// Checks of every other argument: SLICE_ARGUMENT_CHECK(n > 0, "samples {}: want at least 1", n).
#define SLICE_ARGUMENT_CHECK(condition, ...) \
  SLICE_CHECK_AS(::slice::ArgumentError, condition, __VA_ARGS__)

/// Checks of what came from a file.
#define SLICE_FORMAT_CHECK(condition, ...) \
  SLICE_CHECK_AS(::slice::FormatError, condition, __VA_ARGS__)
