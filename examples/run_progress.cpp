#include "run_progress.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "cli.h"

namespace cli {
namespace {

constexpr int kBar = 20;  // characters

/// A phase in words.
std::string words(const std::string& phase) {
  static const std::map<std::string, std::string> kWords = {{"writing", "writing its own text"},
                                                            {"score", "measuring"},
                                                            {"gradients", "gradients"},
                                                            {"inputs", "reading"},
                                                            {"channels", "ranking channels"},
                                                            {"search", "searching a plan"},
                                                            {"slice", "slicing"},
                                                            {"save", "saving"}};
  const auto found = kWords.find(phase);
  return found == kWords.end() ? phase : found->second;
}

/// Share of the call that is through.
double share_of(const slice::Progress& p) {
  if (p.step >= p.steps) return p.eta > 0 ? p.seconds / (p.seconds + p.eta) : 1;
  if (p.eta > 0) return p.seconds / (p.seconds + p.eta);
  return static_cast<double>(p.step) / static_cast<double>(std::max<int64_t>(p.steps, 1));
}

std::string place_of(const slice::Progress& p, const Phase& phase) {
  if (p.steps <= 0) return words(p.phase);
  if (phase.parts == 0)
    return words(p.phase) + " " + std::to_string(p.step) + "/" + std::to_string(p.steps);
  const int64_t part = std::min(phase.parts, p.step * phase.parts / p.steps + 1);
  return words(p.phase) + ", " + phase.part + " " + std::to_string(part) + "/" +
         std::to_string(phase.parts);
}

std::string bar_of(double done) {
  const int full = std::clamp(static_cast<int>(done * kBar), 0, kBar);
  return "[" + std::string(full, '#') + std::string(kBar - full, '.') + "]";
}

std::string formatted(const char* format, double number) {
  char text[48];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

}  // namespace

double RunProgress::flop(size_t begin, size_t end) const {
  double sum = 0;
  for (size_t i = begin; i < std::min(end, phases_.size()); ++i) sum += phases_[i].flop;
  return sum;
}

/// Finds the phase under way: the same one, unless it begins again, or the next of its name.
void RunProgress::enter(const slice::Progress& p) {
  if (known_ && p.phase == last_.phase && p.step >= last_.step) return;
  for (size_t i = known_ ? current_ + 1 : current_; i < phases_.size(); ++i) {
    if (phases_[i].name != p.phase) continue;
    current_ = i;
    known_ = true;
    return;
  }
}

void RunProgress::see(const slice::Progress& p, double now) {
  if (begin_ < 0) begin_ = now - p.seconds;
  enter(p);
  const bool listed = known_ && phases_[current_].name == p.phase;
  const double all = flop(0, phases_.size()), share = share_of(p);
  left_ = p.eta;
  if (listed && all > 0) {
    const double made = flop(0, current_) + share * phases_[current_].flop;
    done_ = std::max(done_, made / all);
    if (made > 0) left_ += (now - begin_) / made * flop(current_ + 1, phases_.size());
  } else if (phases_.empty()) {
    done_ = share;
  }
  finished_ = p.steps > 0 && p.step >= p.steps &&
              (phases_.empty() || (listed && current_ + 1 == phases_.size()));
  place_ = place_of(p, listed ? phases_[current_] : Phase{});
  last_ = p;
}

std::string RunProgress::line(int width, bool bar) const {
  std::string text = bar && width > 2 * kBar ? bar_of(done_) + " " : "";
  text += formatted("%3.0f %%", 100 * done_) + "  " + place_;
  const auto add = [&](const std::string& more) {
    if (static_cast<int>(text.size() + 2 + more.size()) <= width) text += "  " + more;
  };
  if (left_ > 0) add(duration(left_) + " left");
  if (last_.tokens_per_second > 0)
    add(grouped(static_cast<int64_t>(last_.tokens_per_second)) + " tokens/s");
  if (last_.kept_variance > 0) add(formatted("kept variance %.4f", last_.kept_variance));
  return text.substr(0, std::max(width, 0));
}

}  // namespace cli
