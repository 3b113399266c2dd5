#include "libslice/text/calibration.h"

#include <ATen/ops/arange.h>

#include <catch2/catch_test_macros.hpp>
#include <limits>
#include <numeric>

#include "libslice/base/error.h"
#include "tests/support/temporary_directory.h"

namespace slice {
namespace {

using tests::TemporaryDirectory;

// One token per byte, its value; with a beginning token on request.
class ByteTokenizer final : public Tokenizer {
 public:
  explicit ByteTokenizer(bool has_bos = true, bool adds = false) : has_bos_(has_bos), adds_(adds) {}
  std::vector<int64_t> encode(std::string_view text, bool) const override {
    return {text.begin(), text.end()};
  }
  std::string decode(std::span<const int64_t> ids, bool) const override {
    return {ids.begin(), ids.end()};
  }
  int64_t vocabulary_size() const override { return 1000; }
  std::optional<int64_t> bos_token() const override {
    return has_bos_ ? std::optional<int64_t>(999) : std::nullopt;
  }
  std::vector<int64_t> eos_tokens() const override { return {}; }
  bool adds_bos() const override { return adds_; }
  std::string chat_template() const override { return {}; }
  std::vector<File> files() const override { return {}; }

 private:
  bool has_bos_, adds_;
};

// Bytes 0, 1, 2, … so that a token is its position.
std::string counting(int size) {
  std::string text(static_cast<size_t>(size), '\0');
  std::iota(text.begin(), text.end(), '\0');
  return text;
}

std::vector<int64_t> first_tokens(const at::Tensor& windows) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < windows.size(0); ++i) result.push_back(windows[i][0].item<int64_t>());
  return result;
}

// A text of `windows` windows of 10 whose tokens are all `letter`.
std::string text_of(char letter, int windows) { return std::string(10 * windows, letter); }

TEST_CASE("windows follow each other and the rest is dropped", "[calibration]") {
  const at::Tensor windows = tokenize_text(ByteTokenizer(), counting(25), {.context = 10});
  REQUIRE(windows.sizes() == at::IntArrayRef({2, 10}));
  CHECK(windows.scalar_type() == at::kLong);
  CHECK(windows.flatten().equal(at::arange(20, at::kLong)));
}

TEST_CASE("fewer windows are spread evenly, or the first ones", "[calibration]") {
  const std::string text = counting(100);  // 10 windows of 10
  const auto take = [&](int64_t samples, WindowOrder order) {
    return first_tokens(
        tokenize_text(ByteTokenizer(), text, {.context = 10, .samples = samples, .order = order}));
  };
  CHECK(take(3, WindowOrder::kSpread) == std::vector<int64_t>{0, 30, 60});
  CHECK(take(4, WindowOrder::kSpread) == std::vector<int64_t>{0, 20, 50, 70});
  CHECK(take(3, WindowOrder::kFirst) == std::vector<int64_t>{0, 10, 20});
  CHECK(take(10, WindowOrder::kSpread).size() == 10);
  CHECK(take(1000, WindowOrder::kSpread).size() == 10);
}

TEST_CASE("the beginning token comes once, by the tokenizer's rule or the caller's",
          "[calibration]") {
  const std::string text = counting(39);
  const auto first = [&](const Tokenizer& tokenizer, std::optional<bool> bos) {
    return first_tokens(tokenize_text(tokenizer, text, {.context = 10, .bos = bos}));
  };
  CHECK(first(ByteTokenizer(true, true), {}) == std::vector<int64_t>{999, 9, 19, 29});
  CHECK(first(ByteTokenizer(true, false), {}) == std::vector<int64_t>{0, 10, 20});
  CHECK(first(ByteTokenizer(true, false), true) == std::vector<int64_t>{999, 9, 19, 29});
  CHECK(first(ByteTokenizer(true, true), false) == std::vector<int64_t>{0, 10, 20});
  CHECK_THROWS_AS(first(ByteTokenizer(false), true), FormatError);
}

TEST_CASE("windows that cannot be cut are refused", "[calibration]") {
  const ByteTokenizer tokenizer;
  CHECK_THROWS_AS(tokenize_text(tokenizer, counting(9), {.context = 10}), ArgumentError);
  CHECK_THROWS_AS(tokenize_text(tokenizer, "", {.context = 10}), ArgumentError);
  CHECK_THROWS_AS(tokenize_text(tokenizer, counting(9), {.context = 1}), ArgumentError);
  CHECK_THROWS_AS(tokenize_text(tokenizer, counting(9), {.context = 3, .samples = 0}),
                  ArgumentError);
}

TEST_CASE("windows of several texts take turns, each with its share", "[calibration]") {
  const TemporaryDirectory directory;
  const auto write = [&](const char* name, char letter, int windows) {
    return directory.write(name, text_of(letter, windows)).string();
  };
  const std::vector<std::string> paths = {write("a", 'a', 9), write("b", 'b', 1),
                                          write("c", 'c', 3)};
  const auto mix = [&](std::span<const std::string> texts, std::optional<int64_t> samples) {
    return mix_windows(ByteTokenizer(), texts, {.context = 10, .samples = samples});
  };
  const auto order = [](const MixedWindows& mixed) {
    std::string letters;
    for (const int64_t token : first_tokens(mixed.tokens)) letters += static_cast<char>(token);
    return letters;
  };
  using Counts = std::vector<int64_t>;
  const MixedWindows mixed = mix(paths, 8);
  CHECK(mixed.tokens.sizes() == at::IntArrayRef({6, 10}));
  CHECK(mixed.tokens.scalar_type() == at::kLong);
  CHECK(order(mixed) == "abcaca");
  CHECK(mixed.text_of == Counts{0, 1, 2, 0, 2, 0});
  CHECK(mixed.wanted == Counts{3, 3, 2});
  CHECK(mixed.found == Counts{3, 1, 2});
  const MixedWindows all = mix(paths, {});
  CHECK(order(all) == "abcacacaaaaaa");
  CHECK(all.wanted == Counts{9, 1, 3});
  CHECK(all.found == all.wanted);
  const std::vector<std::string> unread = {paths[0], paths[2], "not there"};
  CHECK(order(mix(unread, 2)) == "ac");
  CHECK(mix(unread, 2).wanted == Counts{1, 1, 0});
  CHECK(order(mix({paths.data(), 1}, 5)) == "aaaaa");
  CHECK_THROWS_AS(mix(unread, 3), FormatError);
  CHECK_THROWS_AS(mix(paths, 0), ArgumentError);
  CHECK_THROWS_AS(mix({}, 8), ArgumentError);
}

TEST_CASE("a text that is left blank takes its turns with zeros, and is not read",
          "[calibration]") {
  const TemporaryDirectory directory;
  const std::vector<std::string> paths = {directory.write("a", text_of('a', 9)).string(),
                                          "not there"};
  const MixedWindows mixed =
      mix_windows(ByteTokenizer(), paths, {.context = 10, .samples = 5}, /*blank=*/1);
  CHECK(first_tokens(mixed.tokens) == std::vector<int64_t>{'a', 0, 'a', 0, 'a'});
  CHECK(mixed.text_of == std::vector<int64_t>{0, 1, 0, 1, 0});
  CHECK(mixed.found == mixed.wanted);
  const MixedWindows one =
      mix_windows(ByteTokenizer(), paths, {.context = 10, .samples = 1}, /*blank=*/1);
  CHECK(one.text_of == std::vector<int64_t>{0});
}

TEST_CASE("the rows of one of several texts are those that it gives alone", "[calibration]") {
  const TemporaryDirectory directory;
  const std::vector<std::string> paths = {directory.write("a", counting(127)).string(),
                                          directory.write("b", text_of('b', 5)).string()};
  const WindowOptions share{.context = 10, .samples = 3};
  const at::Tensor mixed =
      mix_windows(ByteTokenizer(), paths, {.context = 10, .samples = 6}).tokens;
  for (int64_t i = 0; i < 2; ++i) {
    const at::Tensor alone = tokenize_text(ByteTokenizer(), read_text(paths[i]), share);
    CHECK(mixed.slice(0, i, 6, 2).equal(alone));
  }
}

TEST_CASE("all windows of a text are asked for by any large number", "[calibration]") {
  const TemporaryDirectory directory;
  const std::vector<std::string> paths(3, directory.write("a", counting(127)).string());
  for (const int64_t samples : {int64_t{100'000'000'000}, std::numeric_limits<int64_t>::max()})
    CHECK(mix_windows(ByteTokenizer(), paths, {.context = 10, .samples = samples}).tokens.size(0) ==
          36);
}

}  // namespace
}  // namespace slice
