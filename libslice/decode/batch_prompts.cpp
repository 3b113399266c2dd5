// Prompts of a Batch: fed in pieces, alone or together, copied where another text has them.

#include <ATen/ATen.h>

#include <algorithm>
#include <span>

#include "libslice/base/detail/check.h"
#include "libslice/decode/batch.h"
#include "libslice/decode/detail/batch_text.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/detail/prefix_store.h"
#include "libslice/decode/detail/row_decoding.h"
#include "libslice/device/detail/last_stream.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

int64_t Batch::feed(int64_t id, int64_t most, const std::function<void(const Tensor&)>& see) {
  const int64_t slot = slot_of(id);
  Text& text = *texts_[slot];
  SLICE_ARGUMENT_CHECK(!text.has_prompt(), "batch: text {} has its prompt", id);
  SLICE_ARGUMENT_CHECK(most >= 0, "batch: want at least 0 tokens to feed, got {}", most);
  stream_->note();
  if (text.fed == 0 && !see) {
    if (copy_whole(slot)) return 0;
    if (most > 0) reuse(slot);
  }
  if (most == 0) return text.prompt - text.fed;
  const int64_t count = whole_prompts_ ? text.prompt : std::min(most, text.prompt - text.fed);
  decoding_->feed_row(slot, text.fed, std::span(text.ids).subspan(text.fed, count), see);
  text.fed += count;
  fed_ += count;
  return text.prompt - text.fed;
}

/// Takes the prompt of a text that has the same and had no step yet. @return  whether there is one
bool Batch::copy_whole(int64_t slot) {
  if (!cache_) return false;
  Text& text = *texts_[slot];
  for (int64_t other = 0; other < slots(); ++other) {
    if (other == slot || !texts_[other] || !texts_[other]->is_fresh()) continue;
    if (texts_[other]->ids != text.ids) continue;
    detail::copy_positions(*cache_, prefixes_->layers(), other, slot, text.prompt);
    decoding_->take_prompt(slot, text.prompt, decoding_->logits(other));
    text.fed = text.reused = text.prompt;
    return true;
  }
  return false;
}

std::vector<int64_t> Batch::feed(const std::vector<int64_t>& ids, int64_t most) {
  std::vector<int64_t> waiting;  // slots
  for (const int64_t id : ids) {
    const int64_t slot = slot_of(id);
    SLICE_ARGUMENT_CHECK(!texts_[slot]->has_prompt(), "batch: text {} has its prompt", id);
    SLICE_ARGUMENT_CHECK(std::find(waiting.begin(), waiting.end(), slot) == waiting.end(),
                         "batch: text {} is named twice", id);
    waiting.push_back(slot);
  }
  SLICE_ARGUMENT_CHECK(most >= 0, "batch: want at least 0 tokens to feed, got {}", most);
  stream_->note();
  const auto fed = [&](int64_t slot) { return texts_[slot]->has_prompt(); };
  try {
    for (int64_t left = most; feed_pass(waiting, left);) {
    }
  } catch (...) {
    if (std::none_of(waiting.begin(), waiting.end(), fed)) throw;
  }
  std::vector<int64_t> unfed;
  for (const int64_t slot : waiting) unfed.push_back(texts_[slot]->prompt - texts_[slot]->fed);
  return unfed;
}

/// Feeds what runs together next, and takes it from `left`. @return  whether there was anything
bool Batch::feed_pass(const std::vector<int64_t>& waiting, int64_t& left) {
  const std::vector<detail::PromptPiece> pieces = next_pass(waiting, left);
  if (pieces.empty()) return false;
  decoding_->feed_rows(pieces);
  for (const detail::PromptPiece& piece : pieces) {
    const int64_t count = std::ssize(piece.tokens);
    texts_[piece.row]->fed += count;
    fed_ += count;
    left = std::max<int64_t>(0, left - count);
  }
  return true;
}

/// Copies what can be copied. @return  what runs together next, nothing where no prompt waits or
/// `most` is 0
std::vector<detail::PromptPiece> Batch::next_pass(const std::vector<int64_t>& waiting,
                                                  int64_t most) {
  std::vector<detail::PromptPiece> pieces;
  most = std::min(most, detail::kPrefillTokens);
  for (const int64_t slot : waiting) {
    Text& text = *texts_[slot];
    if (text.has_prompt() || (text.fed == 0 && copy_whole(slot)) || most == 0) continue;
    if (text.fed == 0) {
      const auto first = [&](const detail::PromptPiece& piece) {
        return waits_for(*texts_[piece.row], slot);
      };
      if (std::any_of(pieces.begin(), pieces.end(), first)) continue;
      reuse(slot);
    }
    const int64_t rest = text.prompt - text.fed;
    const int64_t count = whole_prompts_ ? rest : std::min(most, rest);
    pieces.push_back({slot, text.fed, std::span(text.ids).subspan(text.fed, count)});
    most = std::max<int64_t>(0, most - count);
  }
  return pieces;
}

/// Whether the text of a slot has more to copy once another one has its prompt.
bool Batch::waits_for(const Text& other, int64_t slot) const {
  const Text& text = *texts_[slot];
  if (!cache_) return false;
  if (other.ids == text.ids) return true;
  if (!prefixes_->keeps()) return false;
  const auto prompt = std::span(text.ids).first(text.prompt - 1);
  const int64_t common = detail::common_length(std::span(other.ids).first(other.prompt), prompt);
  return common - longest_alike(slot).length >= kLeastReuse;
}

/// Among texts that run or ran; the last token of a prompt is fed in any case, since the logits
/// after it are needed.
Batch::Alike Batch::longest_alike(int64_t slot) const {
  const Text& text = *texts_[slot];
  const auto prompt = std::span(text.ids).first(text.prompt - 1);
  Alike best = {prefixes_->find(prompt), -1};
  for (int64_t other = 0; other < slots(); ++other) {
    if (other == slot || !texts_[other]) continue;
    const int64_t common = detail::common_length(texts_[other]->in_cache(), prompt);
    if (common > best.length) best = {common, other};
  }
  return best;
}

/// Copies what a text that ran or runs has of a prompt's beginning.
void Batch::reuse(int64_t slot) {
  if (!prefixes_->keeps()) return;
  const Alike best = longest_alike(slot);
  if (best.length < kLeastReuse) return;
  Text& text = *texts_[slot];
  if (best.slot < 0) {
    prefixes_->restore(std::span(text.ids).first(text.prompt - 1), best.length, *cache_, slot);
  } else {
    detail::copy_positions(*cache_, prefixes_->layers(), best.slot, slot, best.length);
  }
  text.fed = text.reused = best.length;
}

}  // namespace slice
