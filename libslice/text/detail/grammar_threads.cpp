#include "libslice/text/detail/grammar_threads.h"

#include <map>

#include "libslice/base/detail/check.h"
#include "libslice/text/detail/json_lexemes.h"

namespace slice::detail {
namespace {

using Op = Instruction::Op;

constexpr size_t kMostThreads = 1024;
constexpr uint8_t kAfterNewLine = 1;  // GrammarThread::inner of white space

}  // namespace

void GrammarRunner::begin(GrammarThreads& threads) {
  threads.list.clear();
  threads.may_end = false;
  enter(0, -1, threads);
}

bool GrammarRunner::same_calls(int32_t a, int32_t b) const {
  while (a != b) {
    if (a < 0 || b < 0) return false;
    const Frame& one = frames_[static_cast<size_t>(a)];
    const Frame& other = frames_[static_cast<size_t>(b)];
    if (one.place != other.place || one.depth != other.depth) return false;
    a = one.parent;
    b = other.parent;
  }
  return true;
}

// Whether the calls that are needed from a place on may still be opened.
bool GrammarRunner::has_room(int32_t place, int32_t frame) const {
  return program_.height[static_cast<size_t>(place)] <= kMostGrammarDepth - depth(frame);
}

void GrammarRunner::add(const GrammarThread& thread, GrammarThreads& to) const {
  if (!has_room(thread.place, thread.frame)) return;
  for (const GrammarThread& other : to.list) {
    if (other.place == thread.place && other.inner == thread.inner && other.key == thread.key &&
        other.count == thread.count && same_calls(other.frame, thread.frame)) {
      return;
    }
  }
  SLICE_FORMAT_CHECK(to.list.size() < kMostThreads,
                     "schema: a text fits it in more than {} ways at once", kMostThreads);
  to.list.push_back(thread);
}

// Follows what takes no byte. It ends: no rule begins with itself.
void GrammarRunner::enter(int32_t place, int32_t frame, GrammarThreads& to) {
  while (true) {
    const Instruction& at = program_.code[static_cast<size_t>(place)];
    switch (at.op) {
      case Op::kByte:
        return add({place, frame}, to);
      case Op::kString:
        return add({.place = place, .frame = frame, .key = at.except}, to);
      case Op::kNumber:
        return add({place, frame}, to);
      case Op::kSpaces:
        add({place, frame}, to);
        ++place;
        continue;
      case Op::kJump:
        place = at.target;
        continue;
      case Op::kFork:
        enter(at.target, frame, to);
        place = at.other;
        continue;
      case Op::kCall: {
        if (!has_room(place, frame)) return;
        frames_.push_back({place + 1, frame, depth(frame) + 1});
        frame = static_cast<int32_t>(frames_.size()) - 1;
        place = at.target;
        continue;
      }
      case Op::kReturn:
        if (frame < 0) {
          to.may_end = true;
          return;
        }
        place = frames_[static_cast<size_t>(frame)].place;
        frame = frames_[static_cast<size_t>(frame)].parent;
    }
  }
}

void GrammarRunner::step(const GrammarThreads& from, uint8_t byte, GrammarThreads& to) {
  to.list.clear();
  to.may_end = false;
  for (const GrammarThread& thread : from.list) {
    const Instruction& at = program_.code[static_cast<size_t>(thread.place)];
    switch (at.op) {
      case Op::kByte:
        if (at.byte == byte) enter(thread.place + 1, thread.frame, to);
        break;
      case Op::kSpaces:
        step_spaces(thread, byte, to);
        break;
      case Op::kString:
        step_string(thread, byte, to);
        break;
      case Op::kNumber:
        step_number(thread, byte, to);
        break;
      default:
        break;
    }
  }
}

void GrammarRunner::step_spaces(GrammarThread thread, uint8_t byte, GrammarThreads& to) {
  const bool indents = thread.inner == kAfterNewLine;
  const bool takes = indents ? byte == ' ' || byte == '\t' : byte == ' ' || byte == '\n';
  if (!takes) return;
  enter(thread.place + 1, thread.frame, to);
  if (!indents && byte == ' ') return;
  if (indents && ++thread.count == kMostIndent) return;
  thread.inner = kAfterNewLine;
  add(thread, to);
}

void GrammarRunner::step_string(GrammarThread thread, uint8_t byte, GrammarThreads& to) {
  const Instruction& at = program_.code[static_cast<size_t>(thread.place)];
  const auto before = static_cast<InString>(thread.inner);
  const InString after = next_in_string(before, byte);
  if (after == InString::kWrong) return;
  if (after == InString::kClosed) {
    const bool taken = thread.key >= 0 && program_.keys[static_cast<size_t>(thread.key)].ends;
    if (!taken && thread.count >= at.least) enter(thread.place + 1, thread.frame, to);
    return;
  }
  if (before == InString::kContent && ++thread.count > at.most) return;
  if (thread.key >= 0 && before != InString::kOpen) {
    if (after == InString::kEscape) return;  // it could be another way to write one of the keys
    const auto& next = program_.keys[static_cast<size_t>(thread.key)].next;
    const auto found = next.find(byte);
    thread.key = found == next.end() ? -1 : found->second;
  }
  thread.inner = static_cast<uint8_t>(after);
  // A count that no limit looks at would tell threads apart that are alike.
  if (at.most == INT64_MAX && at.least == 0) thread.count = 0;
  add(thread, to);
}

void GrammarRunner::step_number(GrammarThread thread, uint8_t byte, GrammarThreads& to) {
  const Instruction& at = program_.code[static_cast<size_t>(thread.place)];
  const InNumber after =
      next_in_number(static_cast<InNumber>(thread.inner), byte, at.integer, thread.count);
  if (after == InNumber::kWrong) return;
  thread.inner = static_cast<uint8_t>(after);
  add(thread, to);
  if (ends_number(after)) enter(thread.place + 1, thread.frame, to);
}

void GrammarRunner::keep_only(GrammarThreads& threads) {
  std::vector<Frame> kept;
  std::map<int32_t, int32_t> moved = {{-1, -1}};
  for (GrammarThread& thread : threads.list) {
    std::vector<int32_t> chain;
    for (int32_t frame = thread.frame; !moved.contains(frame);
         frame = frames_[static_cast<size_t>(frame)].parent) {
      chain.push_back(frame);
    }
    for (size_t i = chain.size(); i-- > 0;) {
      Frame frame = frames_[static_cast<size_t>(chain[i])];
      frame.parent = moved.at(frame.parent);
      moved.emplace(chain[i], static_cast<int32_t>(kept.size()));
      kept.push_back(frame);
    }
    thread.frame = moved.at(thread.frame);
  }
  frames_ = std::move(kept);
}

}  // namespace slice::detail
