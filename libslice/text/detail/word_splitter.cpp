#include "libslice/text/detail/word_splitter.h"

#include "libslice/base/detail/check.h"
#include "libslice/text/detail/byte_alphabet.h"
#include "libslice/text/detail/normalizer.h"

namespace slice::detail {
namespace {

// Joins matches and the gaps between them into pieces, in one pass that holds one piece back.
class PieceJoiner {
 public:
  PieceJoiner(Split::Matches matches, std::string_view text, const WordSplitter::Sink& sink)
      : matches_(matches), text_(text), sink_(sink) {}

  void add(size_t begin, size_t end, bool is_match) {
    if (begin == end || (is_match && matches_ == Split::Matches::kRemoved)) return;
    const bool join = held_ && joins(is_match);
    if (!join) flush();
    if (!held_) begin_ = begin;
    end_ = end;
    // A gap with its match, or a match with its gap, is complete: nothing more joins it.
    open_ = !join || matches_ == Split::Matches::kContiguous;
    held_ = true;
    last_is_match_ = is_match;
  }

  void flush() {
    if (held_) sink_(text_.substr(begin_, end_ - begin_));
    held_ = false;
  }

 private:
  bool joins(bool is_match) const {
    switch (matches_) {
      case Split::Matches::kContiguous:
        return last_is_match_ == is_match;
      case Split::Matches::kWithPrevious:
        return open_ && !last_is_match_ && is_match;
      case Split::Matches::kWithNext:
        return open_ && last_is_match_ && !is_match;
      default:
        return false;
    }
  }

  Split::Matches matches_;
  std::string_view text_;
  const WordSplitter::Sink& sink_;
  size_t begin_ = 0, end_ = 0;
  bool held_ = false, open_ = false, last_is_match_ = false;
};

}  // namespace

WordSplitter::WordSplitter(const std::vector<Split>& splits, const std::string& source) {
  constexpr size_t kMostStages = 100;  // each is a call inside the one before it
  SLICE_FORMAT_CHECK(splits.size() <= kMostStages,
                     "{}: cuts text into words in {} stages: want at most {}", source,
                     splits.size(), kMostStages);
  for (const Split& split : splits) {
    if (split.spelled && first_spelled_ == SIZE_MAX) first_spelled_ = stages_.size();
    Stage stage = {split.matches, split.invert, std::nullopt, split.changes};
    if (!split.pattern.empty()) stage.regex = RegexMatcher(split.pattern, source);
    stages_.push_back(std::move(stage));
  }
}

WordSplitter WordSplitter::clone() const {
  WordSplitter copy;
  copy.first_spelled_ = first_spelled_;
  for (const Stage& stage : stages_) {
    Stage same = {stage.matches, stage.invert, std::nullopt, stage.changes};
    if (stage.regex) same.regex = stage.regex->clone();
    copy.stages_.push_back(std::move(same));
  }
  return copy;
}

void WordSplitter::split_from(size_t stage, std::string_view text, const Sink& sink) {
  if (text.empty()) return;
  if (stage == stages_.size()) return sink(text);
  if (stage != first_spelled_) return split_at(stage, text, sink);
  std::string spelled;
  for (const char byte : text) spelled += to_utf8(byte_alphabet()[static_cast<uint8_t>(byte)]);
  split_at(stage, spelled, [&](std::string_view piece) { sink(bytes_of_token(piece)); });
}

void WordSplitter::split_at(size_t stage, std::string_view text, const Sink& sink) {
  Stage& here = stages_[stage];
  std::string changed;
  if (!here.changes.empty()) {
    text = changed = normalized(std::string(text), here.changes, text.data() == start_);
  }
  if (!here.regex) return split_from(stage + 1, text, sink);
  const Sink deeper = [&](std::string_view piece) { split_from(stage + 1, piece, sink); };
  PieceJoiner joiner(here.matches, text, stage + 1 == stages_.size() ? sink : deeper);
  here.regex->reset(text);
  size_t last = 0, begin = 0, end = 0;
  while (here.regex->next(begin, end)) {
    joiner.add(last, begin, here.invert);
    joiner.add(begin, end, !here.invert);
    last = end;
  }
  joiner.add(last, text.size(), here.invert);
  joiner.flush();
}

}  // namespace slice::detail
