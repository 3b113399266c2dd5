#include "libslice/decode/batch.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/decoding.h"
#include "libslice/decode/detail/stop_token.h"
#include "libslice/device/detail/last_stream.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

/// A text that runs, with what it has: `length` positions of its slot, `written` of them new.
struct Batch::Text {
  int64_t id;
  GenerateOptions options;
  int64_t length;
  int64_t written = 0;
};

Batch::Batch(const Model& model, int64_t slots, int64_t capacity)
    : model_(std::make_shared<Model>(model.share())),
      cache_(std::make_unique<KvCache>(
          model.config(), slots, capacity,
          at::TensorOptions().device(model.decoder().device()).dtype(model.decoder().dtype()))),
      decoding_(detail::make_decoding(model_->decoder(), *cache_)),
      texts_(static_cast<size_t>(slots)),
      stream_(std::make_unique<detail::LastStream>(model.decoder().device())) {}

Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;

std::optional<int64_t> Batch::add(const std::vector<int64_t>& prompt,
                                  const GenerateOptions& options) {
  const auto free = std::find(texts_.begin(), texts_.end(), nullptr);
  if (free == texts_.end()) return std::nullopt;
  const auto length = static_cast<int64_t>(prompt.size());
  const DecoderImpl& decoder = model_->decoder();
  SLICE_ARGUMENT_CHECK(length > 0, "batch: the prompt is empty");
  SLICE_ARGUMENT_CHECK(length < std::min(cache_->capacity(), decoder.positions()),
                       "batch: a prompt of {} leaves no room for a token among {} positions",
                       length, std::min(cache_->capacity(), decoder.positions()));
  SLICE_ARGUMENT_CHECK(options.max_tokens > 0, "batch: want max_tokens of at least 1, got {}",
                       options.max_tokens);
  check_sampling(options.sampling);
  auto text = std::make_unique<Text>(Text{next_id_, options, length});
  stream_->note();
  decoding_->enter(free - texts_.begin(), prompt, options);
  *free = std::move(text);
  return next_id_++;
}

/// Tokens that a text may still have.
int64_t Batch::room(const Text& text) const {
  const int64_t positions = std::min(cache_->capacity(), model_->decoder().positions());
  return std::min(text.options.max_tokens - text.written, positions - text.length);
}

std::vector<BatchOutput> Batch::step(int64_t n) {
  SLICE_ARGUMENT_CHECK(n >= 0, "batch: want at least 0 tokens, got {}", n);
  stream_->note();
  std::vector<std::optional<BatchOutput>> outputs(texts_.size());  // a slot each
  bool any = false;
  for (int64_t left = n; left > 0 && running() > 0;) {
    int64_t together = left;
    for (const auto& text : texts_)
      if (text) together = std::min(together, room(*text));
    try {
      if (!advance(together, outputs)) break;
    } catch (...) {
      if (!any) throw;
      break;  // what was taken is the caller's; the next step meets the error again
    }
    any = true;
    left -= together;
  }
  std::vector<BatchOutput> result;
  for (auto& output : outputs)
    if (output) result.push_back(std::move(*output));
  return result;
}

/// Gives every text n tokens, for which each has room.
/// @return  false where an error ended it after some texts; the next call meets it again
bool Batch::advance(int64_t n, std::vector<std::optional<BatchOutput>>& outputs) {
  std::vector<detail::DecodingRow> rows;
  for (int64_t slot = 0; slot < slots(); ++slot)
    if (const auto& text = texts_[slot]) rows.push_back({slot, text->length, room(*text)});
  const auto ids = decoding_->continue_rows(rows, n);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (ids[i].empty()) return false;
    std::unique_ptr<Text>& text = texts_[rows[i].row];
    std::optional<BatchOutput>& output = outputs[rows[i].row];
    if (!output) output.emplace().id = text->id;
    if (!take(*text, ids[i], *output)) text.reset();
  }
  return true;
}

/// Adds ids to a text. @return  whether it continues
bool Batch::take(Text& text, const std::vector<int64_t>& ids, BatchOutput& output) const {
  for (const int64_t id : ids) {
    if (id < 0 || detail::is_stop(id, text.options)) {
      output.ending = id < 0 ? Ending::kBroken : Ending::kStop;
      return false;
    }
    output.tokens.push_back(id);
    ++text.written;
    ++text.length;
  }
  if (room(text) > 0) return true;
  output.ending = text.written == text.options.max_tokens ? Ending::kMaxTokens : Ending::kFull;
  return false;
}

int64_t Batch::slot_of(int64_t id) const {
  const auto found = std::find_if(texts_.begin(), texts_.end(),
                                  [&](const auto& text) { return text && text->id == id; });
  SLICE_ARGUMENT_CHECK(found != texts_.end(), "batch: no text {} runs", id);
  return found - texts_.begin();
}

Tensor Batch::logits(int64_t id) {
  const int64_t slot = slot_of(id);
  stream_->note();
  return decoding_->logits(slot);
}

void Batch::remove(int64_t id) { texts_[slot_of(id)].reset(); }

int64_t Batch::running() const {
  return std::count_if(texts_.begin(), texts_.end(),
                       [](const auto& text) { return text != nullptr; });
}

}  // namespace slice
