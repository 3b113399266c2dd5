#include "libslice/decode/batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/batch_text.h"
#include "libslice/decode/detail/divided_decoding.h"
#include "libslice/decode/detail/prefix_store.h"
#include "libslice/decode/detail/rotary_tables.h"
#include "libslice/decode/detail/row_decoding.h"
#include "libslice/decode/detail/stop_token.h"
#include "libslice/decode/divided_model.h"
#include "libslice/decode/user_decoder.h"
#include "libslice/device/detail/last_stream.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

Batch::Batch(const Model& model, int64_t slots, int64_t capacity, const BatchOptions& options)
    : model_(std::make_shared<Model>(model.share())),
      capacity_(capacity),
      whole_prompts_(detail::RotaryTables::depend_on_length(model.config())),
      cache_(std::make_unique<KvCache>(
          model.config(), slots, capacity,
          at::TensorOptions().device(model.decoder().device()).dtype(model.decoder().dtype()))),
      decoding_(detail::make_row_decoding(model.decoder(), *cache_)),
      texts_(static_cast<size_t>(slots)),
      stream_(std::make_unique<detail::LastStream>(model.decoder().device())) {
  SLICE_ARGUMENT_CHECK(options.prefix_bytes >= 0, "batch: prefix_bytes {}: want at least 0",
                       options.prefix_bytes);
  prefixes_ = std::make_unique<detail::PrefixStore>(model.config().layers,
                                                    whole_prompts_ ? 0 : options.prefix_bytes);
}

Batch::Batch(const DividedModel& model, int64_t slots, int64_t capacity)
    : model_(std::make_shared<const DividedModel>(model)),
      capacity_(capacity),
      whole_prompts_(detail::RotaryTables::depend_on_length(model.config())),
      decoding_(detail::make_divided_rows(*model.parts(), slots, capacity)),
      texts_(static_cast<size_t>(slots)),
      prefixes_(std::make_unique<detail::PrefixStore>(/*layers=*/0, /*bytes=*/0)),
      stream_(std::make_unique<detail::LastStream>(model.devices()[0])) {}

Batch::Batch(const UserDecoder& decoder, int64_t slots, int64_t capacity)
    : capacity_(capacity),
      whole_prompts_(false),
      prefixes_(std::make_unique<detail::PrefixStore>(/*layers=*/0, /*bytes=*/0)),
      stream_(std::make_unique<detail::LastStream>(decoder.device())) {
  SLICE_ARGUMENT_CHECK(slots > 0 && capacity > 0 && decoder.positions > 0,
                       "batch: want slots, capacity and positions > 0, got {}, {} and {}", slots,
                       capacity, decoder.positions);
  const auto own = std::make_shared<const UserDecoder>(decoder);
  model_ = own;
  decoding_ = detail::make_row_decoding(*own);
  texts_.resize(static_cast<size_t>(slots));
}

Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;

std::optional<int64_t> Batch::begin(const std::vector<int64_t>& prompt,
                                    const GenerateOptions& options) {
  const auto free = std::find(texts_.begin(), texts_.end(), nullptr);
  if (free == texts_.end()) return std::nullopt;
  const auto length = static_cast<int64_t>(prompt.size());
  SLICE_ARGUMENT_CHECK(length > 0, "batch: the prompt is empty");
  SLICE_ARGUMENT_CHECK(length < positions(),
                       "batch: a prompt of {} leaves no room for a token among {} positions",
                       length, positions());
  SLICE_ARGUMENT_CHECK(options.max_tokens > 0, "batch: want max_tokens of at least 1, got {}",
                       options.max_tokens);
  check_sampling(options.sampling);
  auto text = std::make_unique<Text>(Text{next_id_, options, prompt, length});
  stream_->note();
  decoding_->enter(free - texts_.begin(), prompt, options);
  *free = std::move(text);
  return next_id_++;
}

std::optional<int64_t> Batch::add(const std::vector<int64_t>& prompt,
                                  const GenerateOptions& options) {
  const auto id = begin(prompt, options);
  if (!id) return std::nullopt;
  try {
    feed(*id, std::ssize(prompt));
  } catch (...) {
    texts_[slot_of(*id)].reset();
    --next_id_;
    throw;
  }
  return id;
}

int64_t Batch::positions() const { return std::min(capacity_, decoding_->positions()); }

/// Tokens that a text may still have; of one without its prompt, positions.
int64_t Batch::room(const Text& text) const {
  if (!text.has_prompt()) return positions() - text.fed;
  return std::min(text.options.max_tokens - text.written(), positions() - text.length());
}

detail::DecodingRow Batch::decoding_row(int64_t slot) const {
  const Text& text = *texts_[slot];
  return {slot, text.has_prompt() ? text.length() : text.fed, room(text)};
}

std::vector<BatchOutput> Batch::step(int64_t n) {
  SLICE_ARGUMENT_CHECK(n >= 0, "batch: want at least 0 tokens, got {}", n);
  stream_->note();
  std::vector<std::optional<BatchOutput>> outputs(texts_.size());  // a slot each
  const auto steps = [](const auto& text) { return text && text->has_prompt(); };
  bool any = false;
  for (int64_t left = n; left > 0 && std::any_of(texts_.begin(), texts_.end(), steps);) {
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

/// Gives every text with its prompt n tokens, for which each has room.
/// @return  false where an error ended it after some texts; the next call meets it again
bool Batch::advance(int64_t n, std::vector<std::optional<BatchOutput>>& outputs) {
  std::vector<detail::DecodingRow> rows, waiting;
  for (int64_t slot = 0; slot < slots(); ++slot)
    if (const auto& text = texts_[slot])
      (text->has_prompt() ? rows : waiting).push_back(decoding_row(slot));
  const auto ids = decoding_->continue_rows(rows, waiting, n);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (ids[i].empty()) return false;
    Text& text = *texts_[rows[i].row];
    std::optional<BatchOutput>& output = outputs[rows[i].row];
    if (!output) output.emplace().id = text.id;
    if (!take(text, ids[i], *output)) end(rows[i].row, output->ending != Ending::kBroken);
  }
  return true;
}

/// Adds ids to a text. @return  whether it continues
bool Batch::take(Text& text, const std::vector<int64_t>& ids, BatchOutput& output) const {
  for (const int64_t id : ids) {
    if (id < 0 || detail::is_stop(id, text.options)) {
      output.ending = id < 0 ? Ending::kBroken : Ending::kStop;
      output.stop_token = id;
      return false;
    }
    output.tokens.push_back(id);
    text.ids.push_back(id);
  }
  if (room(text) > 0) return true;
  output.ending = text.written() == text.options.max_tokens ? Ending::kMaxTokens : Ending::kFull;
  return false;
}

/// @param keep  whether its keys and values are of use
void Batch::end(int64_t slot, bool keep) {
  const std::unique_ptr<Text> text = std::move(texts_[slot]);
  const auto ids = text->in_cache();
  if (keep && prefixes_->keeps() && std::ssize(ids) >= kLeastReuse)
    prefixes_->keep(ids, *cache_, slot);
}

int64_t Batch::slot_of(int64_t id) const {
  const auto found = std::find_if(texts_.begin(), texts_.end(),
                                  [&](const auto& text) { return text && text->id == id; });
  SLICE_ARGUMENT_CHECK(found != texts_.end(), "batch: no text {} runs", id);
  return found - texts_.begin();
}

Tensor Batch::logits(int64_t id) {
  const int64_t slot = slot_of(id);
  Text& text = *texts_[slot];
  SLICE_ARGUMENT_CHECK(text.has_prompt(), "batch: no text {} with its prompt", id);
  stream_->note();
  text.changed = true;
  return decoding_->logits(slot);
}

void Batch::remove(int64_t id) {
  stream_->note();
  end(slot_of(id), /*keep=*/true);
}

int64_t Batch::running() const {
  return std::count_if(texts_.begin(), texts_.end(),
                       [](const auto& text) { return text != nullptr; });
}

int64_t Batch::cached_positions() const {
  int64_t count = 0;
  for (const auto& text : texts_)
    if (text) count += std::ssize(text->in_cache());
  return count;
}

int64_t Batch::reused(int64_t id) const { return texts_[slot_of(id)]->reused; }

int64_t Batch::prefix_bytes() const { return prefixes_->bytes(); }

}  // namespace slice
