#include "libslice/text/stop_strings.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "libslice/base/error.h"

namespace slice {
namespace {

/// What is given of a text that comes in pieces of these sizes, in turns, and the string found.
std::pair<std::string, std::string> given(const std::vector<std::string>& strings,
                                          std::string_view text, std::mt19937* sizes) {
  StopStrings stop(strings);
  std::string result;
  for (size_t at = 0; at < text.size() && !stop.stopped();) {
    const size_t size = sizes == nullptr ? text.size() : 1 + (*sizes)() % 4;
    result += stop.push(text.substr(at, size));
    at += size;
  }
  result += stop.finish();
  return {result, stop.found()};
}

}  // namespace

TEST_CASE("a text ends before the first stop string that is complete") {
  using Pair = std::pair<std::string, std::string>;
  CHECK(given({"END"}, "one END two", nullptr) == Pair{"one ", "END"});
  CHECK(given({"END"}, "one EN two", nullptr) == Pair{"one EN two", ""});
  CHECK(given({"abc", "b"}, "xabc", nullptr) == Pair{"xa", "b"});   // b is complete first
  CHECK(given({"c", "abc"}, "xabc", nullptr) == Pair{"x", "abc"});  // both at once: the longer
  CHECK(given({"\n\n"}, "a\n\nb\n\n", nullptr) == Pair{"a", "\n\n"});
  CHECK(given({}, "text", nullptr) == Pair{"text", ""});
  CHECK_THROWS_AS(StopStrings({"a", ""}), ArgumentError);
}

TEST_CASE("where a text ends does not depend on its pieces") {
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 500; ++repeat) {
    const auto word = [&](size_t most) {
      std::string text(1 + random() % most, ' ');
      for (char& c : text) c = static_cast<char>('a' + random() % 3);
      return text;
    };
    const std::vector<std::string> strings = {word(5), word(4), word(6)};
    const std::string text = word(30);
    INFO(text << " until " << strings[0] << ", " << strings[1] << ", " << strings[2]);
    CHECK(given(strings, text, &random) == given(strings, text, nullptr));
  }
}

TEST_CASE("what could become a stop string is held back, and nothing else") {
  StopStrings stop({"</s>", "<|im_end|>"});
  CHECK(stop.push("a <") == "a ");
  CHECK(stop.push("|im") == "");
  CHECK(stop.push("portant") == "<|important");
  CHECK(stop.push("</s") == "");
  CHECK(stop.push("> more") == "");
  CHECK(stop.stopped());
  CHECK(stop.push("more") == "");
  CHECK(stop.finish() == "");
}

}  // namespace slice
