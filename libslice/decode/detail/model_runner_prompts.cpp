#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "libslice/base/detail/stopwatch.h"
#include "libslice/decode/detail/current_message.h"
#include "libslice/decode/detail/model_runner.h"

namespace slice::detail {

void ModelRunner::feed_prompts() {
  const auto sees = [](const auto& text) {
    return !text->gone && !text->has_prompt && text->sees_prompt();
  };
  const bool any = std::any_of(texts_.begin(), texts_.end(), sees);
  int64_t left = prompt_chunk_;
  left -= feed_together(any ? left / 2 : left);  // those who see theirs have the other half
  for (const auto& text : texts_) {
    if (text->gone || text->has_prompt) continue;
    const int64_t before = batch_.fed();
    feed(*text, std::max<int64_t>(0, left));
    left -= batch_.fed() - before;
  }
}

/// Feeds prompts that nobody sees. Where that fails they are where they were, to be fed one by one,
/// so that only those fail whose fault it is. @return  tokens that were fed
int64_t ModelRunner::feed_together(int64_t most) {
  const Stopwatch clock;
  const int64_t before = batch_.fed();
  std::vector<EngineText*> together;
  std::vector<int64_t> left;  // tokens of each
  try {
    std::vector<int64_t> ids;
    for (const auto& text : texts_) {
      if (text->gone || text->has_prompt || text->sees_prompt()) continue;
      together.push_back(text.get());
      ids.push_back(text->batch_id);
    }
    if (together.size() < 2) return 0;
    left = batch_.feed(ids, most);
  } catch (...) {
    return 0;
  }
  const int64_t fed = count_fed(before, clock.seconds());
  for (size_t i = 0; i < left.size(); ++i)
    if (left[i] == 0 && !together[i]->gone) has_prompt(*together[i]);
  return fed;
}

/// Counts what was fed since the batch had `before` tokens. @return  how many
int64_t ModelRunner::count_fed(int64_t before, double seconds) {
  const int64_t fed = batch_.fed() - before;
  if (fed > 0) failures_ = 0;
  statistics.change([&](auto& s) {
    s.prompt_tokens += fed;
    s.prompt_seconds += seconds;
  });
  return fed;
}

void ModelRunner::feed(EngineText& text, int64_t most) {
  const Stopwatch clock;
  const int64_t before = batch_.fed();
  int64_t left = 0;
  try {
    left = text.sees_prompt()
               ? batch_.feed(text.batch_id, most, [&](const at::Tensor& l) { text.see_prompt(l); })
               : batch_.feed(text.batch_id, most);
  } catch (...) {
    const std::string error = current_message();
    failed("a prompt failed: " + error);
    end_request(text.request(), Finish::kError, error);
    return;
  }
  count_fed(before, clock.seconds());
  if (left == 0) has_prompt(text);
}

void ModelRunner::has_prompt(EngineText& text) {
  text.has_prompt = true;
  const int64_t reused = batch_.reused(text.batch_id);
  statistics.change([&](auto& s) {
    ++s.prompts;
    s.prefix_hits += reused > 0 ? 1 : 0;
    s.reused_tokens += reused;
  });
  const std::shared_ptr<ActiveRequest> request = text.request();
  if (text.index() == 0) request->usage.reused_tokens = reused;
  if (auto piece = text.prompt_piece()) hand_over(request, std::move(*piece));
  if (!text.gone && request->options.max_tokens == 0) deliver(text, text.ended(Finish::kLength));
}

}  // namespace slice::detail
