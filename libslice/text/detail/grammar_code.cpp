#include "libslice/text/detail/grammar_code.h"

#include <algorithm>
#include <array>
#include <utility>

#include "libslice/base/detail/check.h"

namespace slice::detail {
namespace {

using Op = Instruction::Op;

constexpr size_t kMostInstructions = 400'000;
constexpr int64_t kMostAlternatives = 4096;
constexpr int32_t kEndless = INT32_MAX;

/// The places that come next, of a call both what it calls and what is after it; -1: none.
std::array<int32_t, 2> ways_from(const std::vector<Instruction>& code, int32_t place) {
  const Instruction& at = code[static_cast<size_t>(place)];
  if (at.op == Op::kReturn) return {-1, -1};
  if (at.op == Op::kJump) return {at.target, -1};
  if (at.op == Op::kFork) return {at.target, at.other};
  return {place + 1, at.op == Op::kCall ? at.target : -1};
}

/// Calls that each place needs at once at least, to its return. Each is settled once, the lowest
/// first: a sweep over all until nothing changes would take a sweep a member of an object.
class Heights {
 public:
  explicit Heights(const std::vector<Instruction>& code)
      : code_(code), height_(code.size(), kEndless), sources_(code.size()) {
    for (int32_t place = 0; std::cmp_less(place, code.size()); ++place) {
      for (const int32_t next : ways_from(code, place)) {
        if (next >= 0) sources_[static_cast<size_t>(next)].push_back(place);
      }
    }
  }

  std::vector<int32_t> settle() {
    std::vector<int32_t> now, higher;  // places of this height and of the next
    for (int32_t place = 0; std::cmp_less(place, code_.size()); ++place) {
      if (code_[static_cast<size_t>(place)].op == Op::kReturn) now.push_back(place);
    }
    for (int32_t height = 0; !now.empty(); ++height, now.swap(higher), higher.clear()) {
      while (!now.empty()) {
        const int32_t place = now.back();
        now.pop_back();
        if (of(place) != kEndless) continue;
        height_[static_cast<size_t>(place)] = height;
        for (const int32_t source : sources_[static_cast<size_t>(place)]) {
          const int32_t least = from_next(source);
          if (least == height) now.push_back(source);
          if (least == height + 1) higher.push_back(source);
        }
      }
    }
    return std::move(height_);
  }

 private:
  int32_t of(int32_t place) const { return height_[static_cast<size_t>(place)]; }

  int32_t from_next(int32_t place) const {
    const auto [first, second] = ways_from(code_, place);
    if (second < 0) return of(first);
    if (code_[static_cast<size_t>(place)].op == Op::kFork) return std::min(of(first), of(second));
    return of(second) == kEndless ? kEndless : std::max(of(first), of(second) + 1);
  }

  const std::vector<Instruction>& code_;
  std::vector<int32_t> height_;
  std::vector<std::vector<int32_t>> sources_;  // of each place: those that lead to it
};

// Counts the ways to the first byte, depth first: a place that is met again on its own way begins
// with itself.
class FirstBytes {
 public:
  explicit FirstBytes(const std::vector<Instruction>& code) : code_(code), ways_(code.size(), 0) {}

  void check() {
    for (size_t i = 0; i < code_.size(); ++i) {
      SLICE_FORMAT_CHECK(count(static_cast<int32_t>(i)) <= kMostAlternatives,
                         "schema: more than {} alternatives in one place", kMostAlternatives);
    }
  }

 private:
  std::vector<int32_t> followers(int32_t place) const {
    const Instruction& at = code_[static_cast<size_t>(place)];
    if (at.op == Op::kJump || at.op == Op::kCall) return {at.target};
    if (at.op == Op::kFork) return {at.target, at.other};
    if (at.op == Op::kSpaces) return {place + 1};
    return {};
  }

  int64_t count(int32_t first) {
    std::vector<int32_t> way = {first};
    while (!way.empty()) {
      const int32_t place = way.back();
      int64_t& ways = ways_[static_cast<size_t>(place)];
      const std::vector<int32_t> next = followers(place);
      if (ways == 0) {
        ways = kOpen;
        for (const int32_t follower : next) {
          const int64_t known = ways_[static_cast<size_t>(follower)];
          SLICE_FORMAT_CHECK(known != kOpen, "schema: a definition that begins with itself");
          if (known == 0) way.push_back(follower);
        }
        continue;
      }
      way.pop_back();
      if (ways != kOpen) continue;
      ways = next.empty() ? 1 : 0;
      for (const int32_t follower : next) {
        ways = std::min(ways + ways_[static_cast<size_t>(follower)], kMostAlternatives + 1);
      }
    }
    return ways_[static_cast<size_t>(first)];
  }

  static constexpr int64_t kOpen = -1;
  const std::vector<Instruction>& code_;
  std::vector<int64_t> ways_;  // 0: not counted yet
};

}  // namespace

int32_t GrammarCode::emit(Instruction instruction) {
  SLICE_FORMAT_CHECK(program_.code.size() < kMostInstructions, "schema: too large");
  program_.code.push_back(instruction);
  return here() - 1;
}

void GrammarCode::bytes(std::string_view text) {
  for (const char c : text) emit({.op = Op::kByte, .byte = static_cast<uint8_t>(c)});
}

void GrammarCode::mark(char byte) {
  bytes(std::string_view(&byte, 1));
  spaces();
}

// A fork for all but the last of the texts that differ here; what they have in common once.
void GrammarCode::one_of(const std::vector<std::string>& texts) {
  struct Part {
    size_t first, last, offset;  // of the sorted texts, which agree before the offset
    int32_t from;                // a jump to be patched, or -1
  };
  std::vector<std::string> sorted = texts;
  std::ranges::sort(sorted);
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::vector<Part> parts = {{0, sorted.size(), 0, -1}};
  std::vector<int32_t> ends;
  while (!parts.empty()) {
    Part part = parts.back();
    parts.pop_back();
    if (part.from >= 0) at(part.from).target = here();
    const auto byte_of = [&](size_t i) { return sorted[i][part.offset]; };
    while (part.last - part.first > 0) {
      if (sorted[part.first].size() == part.offset) {  // it ends here; others may go on
        if (part.last - part.first > 1) {
          const int32_t place = fork();
          at(place).target = here();
          ends.push_back(jump());
          at(place).other = here();
          ++part.first;
          continue;
        }
        ends.push_back(jump());
        break;
      }
      size_t same = part.first;
      while (same < part.last && byte_of(same) == byte_of(part.first)) ++same;
      if (same < part.last) {
        const int32_t place = fork();
        at(place).other = here();
        const int32_t rest = jump();
        at(place).target = here();
        parts.push_back({same, part.last, part.offset, rest});
        part.last = same;
      }
      bytes(std::string_view(sorted[part.first]).substr(part.offset, 1));
      ++part.offset;
    }
  }
  for (const int32_t end : ends) at(end).target = here();
}

int32_t GrammarCode::key_tree(const std::vector<std::string>& quoted) {
  std::vector<KeyNode>& keys = program_.keys;
  const auto root = static_cast<int32_t>(keys.size());
  keys.emplace_back();
  for (const std::string& text : quoted) {
    int32_t node = root;
    for (const char c : std::string_view(text).substr(1, text.size() - 2)) {
      const auto fresh = static_cast<int32_t>(keys.size());
      const auto [found, added] =
          keys[static_cast<size_t>(node)].next.emplace(static_cast<uint8_t>(c), fresh);
      node = found->second;
      if (added) keys.emplace_back();
    }
    keys[static_cast<size_t>(node)].ends = true;
  }
  return root;
}

// Any number of items between two marks, with commas.
template <typename Item>
void GrammarCode::list_of(char open, const Item& item, char close) {
  mark(open);
  const int32_t begin = fork();
  at(begin).target = here();
  item();
  spaces();
  const int32_t after = fork();
  at(after).target = here();
  mark(',');
  jump(at(begin).target);
  at(begin).other = at(after).other = here();
  bytes(std::string_view(&close, 1));
}

void GrammarCode::free_object(int32_t rule) {
  const auto member = [&] {
    emit({.op = Op::kString});
    spaces();
    mark(':');
    call(rule);
  };
  list_of('{', member, '}');
}

void GrammarCode::free_array(int32_t rule) {
  list_of(
      '[', [&] { call(rule); }, ']');
}

int32_t GrammarCode::new_rule() {
  rules_.push_back(-1);
  return static_cast<int32_t>(rules_.size()) - 1;
}

int32_t GrammarCode::any_rule() {
  if (any_ < 0) any_ = new_rule();
  return any_;
}

void GrammarCode::write_any() {
  begin_rule(any_);
  std::vector<int32_t> ends;
  const auto alternative = [&](const auto& write) {
    const int32_t place = fork();
    at(place).target = here();
    write();
    ends.push_back(jump());
    at(place).other = here();
  };
  alternative([&] { free_object(any_); });
  alternative([&] { free_array(any_); });
  alternative([&] { emit({.op = Op::kString}); });
  alternative([&] { emit({.op = Op::kNumber}); });
  one_of({"false", "null", "true"});
  for (const int32_t end : ends) at(end).target = here();
  end_rule();
}

GrammarProgram GrammarCode::finish() {
  if (any_ >= 0) write_any();
  for (Instruction& instruction : program_.code) {
    if (instruction.op == Op::kCall)
      instruction.target = rules_[static_cast<size_t>(instruction.target)];
  }
  FirstBytes(program_.code).check();
  program_.height = Heights(program_.code).settle();
  SLICE_FORMAT_CHECK(program_.height[0] <= kMostGrammarDepth,
                     "schema: no value of it is nested at most {} deep", kMostGrammarDepth + 1);
  return std::move(program_);
}

}  // namespace slice::detail
