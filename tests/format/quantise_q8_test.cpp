#include "libslice/format/quantise_q8.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <catch2/catch_all.hpp>
#include <limits>

#include "libslice/base/error.h"
#include "tests/support/matchers.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using at::Tensor;
using namespace tests;

std::string written(const Tensor& tensor) {
  const TemporaryDirectory directory;
  detail::OutputFile out(directory.path() / "q8");
  detail::write_q8(out, tensor, "w");
  out.sync();
  return detail::read_text_file(directory.path() / "q8");
}

std::string hexadecimal(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes)
    text += fmt::format("{:02x}", static_cast<unsigned>(static_cast<uint8_t>(byte)));
  return text;
}

/// Five rows of one block: plain, zeros, halves at a scale of 1, powers of two with alternating
/// signs, and numbers whose scale is none in float16.
Tensor rows() {
  const Tensor i = at::arange(32, at::kFloat);
  Tensor halves = (i - 16) / 2;
  halves[0] = 127;
  const Tensor signs = 1 - 2 * at::remainder(i, 2);
  return at::stack({(at::remainder(i * 37, 64) - 31) / 8, at::zeros({32}), halves,
                    signs * at::exp2(-(i + 3)), at::full({32}, 1e-9, at::kFloat)});  // (5, 32)
}

/// What the gguf package's quantiser (gguf 0.17, quants.quantize) makes of them.
constexpr const char* kBytes =
    "08288518ad40d467fc9124b94be073089d30c457ec7f14a93cd063f88d20b547dc6f"
    "00000000000000000000000000000000000000000000000000000000000000000000"
    "003c7ff8f9f9fafafbfbfcfcfdfdfefeffff00010102020303040405050606070708"
    "08147fc020f008fc02ff000000000000000000000000000000000000000000000000"
    "00007f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f";

TEST_CASE("Q8_0 has the bytes of the gguf package, from any strides and types") {
  CHECK(hexadecimal(written(rows())) == kBytes);
  CHECK(hexadecimal(written(rows().t().contiguous().t())) == kBytes);
  CHECK(hexadecimal(written(rows().to(at::kDouble))) == kBytes);
  CHECK(written(rows().view({1, 160})) == written(rows()));
}

TEST_CASE("Q8_0 refuses rows that are no blocks and numbers without a scale") {
  CHECK_THROWS_NAMING(written(at::zeros({2, 33})), ShapeError, "multiples of 32, got 33");
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e7}) {
    Tensor row = at::zeros({1, 64});
    row[0][40] = bad;
    CHECK_THROWS_NAMING(written(row), NumericError, "w has a number that Q8_0 has not");
  }
}

}  // namespace
}  // namespace slice
