#include "libslice/text/detail/word_beginnings.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <random>
#include <string>

#include "libslice/text/detail/added_tokens.h"

namespace slice::detail {
namespace {

std::string random_word(std::mt19937& random, size_t most) {
  std::string word(1 + random() % most, 'a');
  for (char& c : word) c = static_cast<char>('a' + random() % 2);
  return word;
}

/// Numbers of the words that begin at each place of `text`, longest first.
std::vector<std::vector<int32_t>> words_at_places(const WordBeginnings& beginnings,
                                                  const std::string& text) {
  std::vector<std::vector<int32_t>> found(text.size());
  auto state = WordBeginnings::kStart;
  for (size_t i = text.size(); i-- > 0;) {
    state = beginnings.before(static_cast<uint8_t>(text[i]), state);
    for (auto s = beginnings.longest(state); s != WordBeginnings::kNone; s = beginnings.shorter(s))
      found[i].push_back(beginnings.word(s));
  }
  return found;
}

}  // namespace

TEST_CASE("the words that begin at a place are those that comparing finds, longest first") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> words(1 + random() % 12);
    for (std::string& word : words) word = random_word(random, 6);
    std::ranges::stable_sort(words, std::greater{}, &std::string::size);
    words.erase(std::unique(words.begin(), words.end()), words.end());
    const std::string text = random_word(random, 60);
    const auto found = words_at_places(WordBeginnings({words.begin(), words.end()}), text);
    for (size_t i = 0; i < text.size(); ++i) {
      std::vector<std::string> wanted, got;
      for (const std::string& word : words)
        if (text.compare(i, word.size(), word) == 0 &&
            std::ranges::find(wanted, word) == wanted.end())
          wanted.push_back(word);
      for (const int32_t number : found[i]) got.push_back(words[static_cast<size_t>(number)]);
      CHECK(got == wanted);
    }
  }
}

TEST_CASE("bytes above 127 are bytes of words") {
  const std::vector<std::string_view> words = {"\xC3\xA9", "\xFF"};
  CHECK(words_at_places(WordBeginnings(words), "\xC3\xA9\xFF") ==
        std::vector<std::vector<int32_t>>{{0}, {}, {1}});
}

TEST_CASE("an added token is found across the parts in which a text is read") {
  std::vector<AddedToken> tokens = {{.id = 1, .content = "<a>"}, {.id = 2, .content = "<a><b>"}};
  const AddedTokenFinder finder(tokens);
  for (size_t before = 65530; before < 65540; ++before) {
    std::vector<int64_t> ids;
    finder.find(
        std::string(before, ' ') + "<a><b><a>", true, [](std::string_view) {},
        [&](int64_t id) { ids.push_back(id); });
    CHECK(ids == std::vector<int64_t>{2, 1});
  }
}

TEST_CASE("long added tokens that almost match take no more time than short ones") {
  std::vector<AddedToken> tokens;
  for (int i = 0; i < 200; ++i)
    tokens.push_back({.id = i, .content = std::string(static_cast<size_t>(5000 + i), 'a') + 'b'});
  const AddedTokenFinder finder(tokens);
  const auto begin = std::chrono::steady_clock::now();
  int64_t found = 0;
  finder.find(
      std::string(1'000'000, 'a'), true, [](std::string_view) {}, [&](int64_t) { ++found; });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  CHECK(found == 0);
  CHECK(seconds.count() < 2);  // comparing takes 5e9 steps
}

}  // namespace slice::detail
