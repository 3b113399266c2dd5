#include "libslice/base/warning.h"

#include <catch2/catch_all.hpp>

#include "libslice/base/detail/warn.h"
#include "tests/support/heard_warnings.h"

namespace slice {
namespace {

TEST_CASE("a warning reaches the handler of the moment and nobody where there is none") {
  detail::warn("{} is heard by nobody", "this");
  std::string outer;
  {
    const tests::HeardWarnings heard;
    detail::warn("{}: {} tensors", "a.safetensors", 3);
    outer = heard.text();
  }
  CHECK(outer == "a.safetensors: 3 tensors\n");
  CHECK(!set_warning_handler({}));
}

}  // namespace
}  // namespace slice
