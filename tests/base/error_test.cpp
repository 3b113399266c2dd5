#include "libslice/base/error.h"

#include <catch2/catch_all.hpp>
#include <type_traits>

#include "libslice/base/detail/check.h"
#include "tests/support/matchers.h"

namespace slice {
namespace {

template <typename... Types>
constexpr bool all_are_errors = (std::is_base_of_v<Error, Types> && ...);

static_assert(std::is_base_of_v<std::runtime_error, Error>);
static_assert(all_are_errors<ShapeError, DtypeError, DeviceError, FormatError, NumericError,
                             CudaError, Interrupted>);

TEST_CASE("a check that holds throws nothing and evaluates its condition once") {
  int evaluations = 0;
  SLICE_CHECK(++evaluations == 1, "never said");
  CHECK(evaluations == 1);
}

TEST_CASE("a check that fails throws its type with the values in the message") {
  const auto shape = [] { SLICE_CHECK(1 > 2, "rows: want {}, got {}", 2, 1); };
  const auto format = [] { SLICE_FORMAT_CHECK(false, "{}: no", "config.json"); };
  const auto numeric = [] { SLICE_CHECK_AS(NumericError, false, "weight: {}", "NaN"); };
  CHECK_THROWS_NAMING(shape(), ShapeError, "rows: want 2, got 1");
  CHECK_THROWS_NAMING(format(), FormatError, "config.json: no");
  CHECK_THROWS_NAMING(numeric(), NumericError, "weight: NaN");
  CHECK_THROWS_AS(shape(), Error);
}

TEST_CASE("a failing check is one statement and needs no braces under an if") {
  const auto checked = [](bool wanted) {
    if (wanted)
      SLICE_CHECK(false, "wanted");
    else
      return 1;
    return 2;
  };
  CHECK(checked(false) == 1);
  CHECK_THROWS_AS(checked(true), ShapeError);
}

}  // namespace
}  // namespace slice
