#include "libslice/decode/batch.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "libslice/base/detail/check.h"
#include "libslice/checkpoint/model.h"
#include "libslice/decode/detail/decode_graph.h"
#include "libslice/decode/detail/prefill.h"
#include "libslice/decode/detail/stop_token.h"
#include "libslice/model/decoder.h"
#include "libslice/model/kv_cache.h"

namespace slice {

using at::Tensor;

namespace {

/// Runs tokens of one sequence through the modules, behind what its cache has. @return  (V), in
/// front of the next one
Tensor logits_behind(const DecoderImpl& decoder, const std::vector<int64_t>& tokens,
                     KvCache& cache) {
  const Tensor stream = decoder.stream(at::tensor(tokens, at::kLong).unsqueeze(0), &cache);
  return decoder.logits(stream.select(1, -1))[0];  // (1, T, k) → (1, V)
}

}  // namespace

/// A text that runs: `length` positions of it, and where the modules run it the logits in front of
/// the next one.
struct Batch::Text {
  int64_t id;
  GenerateOptions options;
  KvCache cache;  // its slot
  Tensor logits;  // (V)
  int64_t length;
  int64_t written = 0;
};

Batch::Batch(const Model& model, int64_t slots, int64_t capacity)
    : model_(std::make_shared<Model>(model.share())),
      cache_(std::make_unique<KvCache>(
          model.config(), slots, capacity,
          at::TensorOptions().device(model.decoder().device()).dtype(model.decoder().dtype()))),
      plan_(detail::make_decode_plan(model_->decoder(), *cache_)),
      texts_(static_cast<size_t>(slots)) {}

Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;

std::optional<int64_t> Batch::add(const std::vector<int64_t>& prompt,
                                  const GenerateOptions& options) {
  const auto free = std::find(texts_.begin(), texts_.end(), nullptr);
  if (free == texts_.end()) return std::nullopt;
  const auto length = static_cast<int64_t>(prompt.size());
  const DecoderImpl& decoder = model_->decoder();
  SLICE_CHECK(length > 0, "batch: the prompt is empty");
  SLICE_CHECK(length < std::min(cache_->capacity(), decoder.positions()),
              "batch: a prompt of {} leaves no room for a token among {} positions", length,
              std::min(cache_->capacity(), decoder.positions()));
  SLICE_CHECK(options.max_tokens > 0, "batch: want max_tokens of at least 1, got {}",
              options.max_tokens);
  check_sampling(options.sampling);
  const int64_t slot = free - texts_.begin();
  const at::NoGradGuard no_grad;
  auto text = std::make_unique<Text>(
      Text{next_id_, options, cache_->row(slot), /*logits=*/{}, length, /*written=*/0});
  if (plan_) {
    const Tensor tokens = at::tensor(prompt, at::kLong).unsqueeze(0);  // (1, T)
    plan_->enter(slot, detail::prefill(plan_->model(), text->cache, tokens, /*position=*/0)[0],
                 options.sampling, options.seed);
  } else {
    text->logits = logits_behind(decoder, prompt, text->cache);  // (V)
  }
  *free = std::move(text);
  return next_id_++;
}

/// Tokens that a text may still have.
int64_t Batch::room(const Text& text) const {
  const int64_t positions = std::min(cache_->capacity(), model_->decoder().positions());
  return std::min(text.options.max_tokens - text.written, positions - text.length);
}

std::vector<BatchOutput> Batch::step(int64_t n) {
  SLICE_CHECK(n >= 0, "batch: want at least 0 tokens, got {}", n);
  std::vector<BatchOutput> outputs(texts_.size());
  std::vector<bool> ran(texts_.size());
  bool any = false;
  for (int64_t left = n; left > 0 && running() > 0;) {
    int64_t together = left;
    for (const auto& text : texts_)
      if (text) together = std::min(together, room(*text));
    try {
      const auto rows = plan_ ? advance_captured(together) : std::vector<std::vector<int64_t>>();
      for (size_t slot = 0; slot < texts_.size(); ++slot) {
        std::unique_ptr<Text>& text = texts_[slot];
        if (!text) continue;
        const auto ids = plan_ ? rows[slot] : advance_by_modules(*text, together);
        any = ran[slot] = true;
        outputs[slot].id = text->id;
        if (!take(*text, ids, outputs[slot])) text.reset();
      }
    } catch (...) {
      if (!any) throw;
      break;  // what was taken is the caller's; the next step meets the error again
    }
    left -= together;
  }
  std::vector<BatchOutput> result;
  for (size_t slot = 0; slot < outputs.size(); ++slot)
    if (ran[slot]) result.push_back(std::move(outputs[slot]));
  return result;
}

/// n tokens of every slot up to the last one in use, by the graph of as many rows or the next power
/// of two; free ones among them write at the beginning of their rows, where nobody reads.
std::vector<std::vector<int64_t>> Batch::advance_captured(int64_t n) {
  int64_t used = 0, rows = 1;
  for (int64_t slot = 0; slot < slots(); ++slot)
    if (texts_[slot]) used = slot + 1;
  while (rows < used) rows *= 2;
  rows = std::min(rows, slots());
  std::vector<int32_t> positions(rows, 0);
  for (int64_t slot = 0; slot < used; ++slot)
    if (texts_[slot]) positions[slot] = static_cast<int32_t>(texts_[slot]->length);
  const Tensor ids = plan_->continue_rows(positions, n).cpu();  // (rows, n)
  const int64_t* first = ids.const_data_ptr<int64_t>();
  std::vector<std::vector<int64_t>> result;
  for (int64_t slot = 0; slot < used; ++slot)
    result.emplace_back(first + slot * n, first + (slot + 1) * n);
  return result;
}

/// At most n tokens of one text, −1 where its logits are no numbers; fewer where it ends.
std::vector<int64_t> Batch::advance_by_modules(Text& text, int64_t n) const {
  const at::NoGradGuard no_grad;
  const int64_t room_left = room(text);
  std::vector<int64_t> ids;
  while (static_cast<int64_t>(ids.size()) < n) {
    try {
      ids.push_back(sample_token(
          text.logits, text.options.sampling,
          {.seed = text.options.seed, .sequence = 0, .position = text.cache.length()}));
    } catch (const NumericError&) {
      ids.push_back(-1);
    }
    const bool is_last = static_cast<int64_t>(ids.size()) == room_left;
    if (is_last || ids.back() < 0 || detail::is_stop(ids.back(), text.options)) break;
    try {
      text.logits = logits_behind(model_->decoder(), {ids.back()}, text.cache);
    } catch (...) {  // the last id was not fed: it comes again
      ids.pop_back();
      if (ids.empty()) throw;
      break;
    }
  }
  return ids;
}

/// Adds ids to a text. @return  whether it goes on
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

void Batch::remove(int64_t id) {
  const auto found = std::find_if(texts_.begin(), texts_.end(),
                                  [&](const auto& text) { return text && text->id == id; });
  SLICE_CHECK(found != texts_.end(), "batch: no text {} runs", id);
  found->reset();
}

int64_t Batch::running() const {
  return std::count_if(texts_.begin(), texts_.end(),
                       [](const auto& text) { return text != nullptr; });
}

}  // namespace slice
