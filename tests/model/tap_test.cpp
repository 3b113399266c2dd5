#include "libslice/model/tap.h"

#include <ATen/ATen.h>

#include <catch2/catch_all.hpp>
#include <optional>
#include <type_traits>

namespace slice {
namespace {

static_assert(!std::is_copy_constructible_v<Tap> && !std::is_copy_constructible_v<TapHandle>);
static_assert(std::is_nothrow_move_constructible_v<TapHandle> &&
              std::is_nothrow_move_assignable_v<TapHandle>);

TEST_CASE("observers see the stream in the order of attachment, until their handle is destroyed") {
  Tap tap;
  std::vector<int> calls;
  const at::Tensor z = at::ones({1});
  CHECK_FALSE(tap.observed());
  tap(z);  // nobody listens
  const TapHandle first = tap.attach([&](const at::Tensor& seen) {
    CHECK(seen.is_same(z));
    calls.push_back(1);
  });
  {
    const TapHandle second = tap.attach([&](const at::Tensor&) { calls.push_back(2); });
    tap(z);
  }
  tap(z);
  CHECK(calls == std::vector<int>{1, 2, 1});
  CHECK(tap.observed());
}

TEST_CASE("a moved handle stays attached, and an overwritten one is detached") {
  Tap tap;
  int a = 0, b = 0;
  const at::Tensor z = at::ones({1});
  TapHandle first = tap.attach([&](const at::Tensor&) { ++a; });
  TapHandle moved = std::move(first);
  tap(z);
  moved = tap.attach([&](const at::Tensor&) { ++b; });
  tap(z);
  CHECK(a == 1);
  CHECK(b == 1);
}

TEST_CASE("a handle may outlive its tap") {
  std::optional<Tap> tap(std::in_place);
  const TapHandle handle = tap->attach([](const at::Tensor&) {});
  tap.reset();
  const TapHandle empty;
  SUCCEED();
}

TEST_CASE("an observer that throws leaves the tap usable") {
  Tap tap;
  {
    const TapHandle handle =
        tap.attach([](const at::Tensor&) { throw std::runtime_error("stop"); });
    CHECK_THROWS_AS(tap(at::ones({1})), std::runtime_error);
  }
  CHECK_FALSE(tap.observed());
  CHECK_NOTHROW(tap(at::ones({1})));
}

}  // namespace
}  // namespace slice
