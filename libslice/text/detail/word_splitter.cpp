#include "libslice/text/detail/word_splitter.h"

#include "libslice/base/detail/check.h"

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
    stages_.push_back({split.matches, split.invert, RegexMatcher(split.pattern, source)});
  }
}

WordSplitter WordSplitter::clone() const {
  WordSplitter copy;
  for (const Stage& stage : stages_) {
    copy.stages_.push_back({stage.matches, stage.invert, stage.regex.clone()});
  }
  return copy;
}

void WordSplitter::split_from(size_t stage, std::string_view text, const Sink& sink) {
  if (text.empty()) return;
  if (stage == stages_.size()) return sink(text);
  Stage& here = stages_[stage];
  const Sink deeper = [&](std::string_view piece) { split_from(stage + 1, piece, sink); };
  PieceJoiner joiner(here.matches, text, stage + 1 == stages_.size() ? sink : deeper);
  here.regex.reset(text);
  size_t last = 0, begin = 0, end = 0;
  while (here.regex.next(begin, end)) {
    joiner.add(last, begin, here.invert);
    joiner.add(begin, end, !here.invert);
    last = end;
  }
  joiner.add(last, text.size(), here.invert);
  joiner.flush();
}

}  // namespace slice::detail
